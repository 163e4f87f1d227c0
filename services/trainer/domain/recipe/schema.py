"""A recipe: everything a training run is made of, apart from its parent and its data.

Each default is the value that the demo's model was measured with, or upstream's own.
"""

from typing import Annotated, Literal

from msgspec import Meta

from services.trainer.domain.recipe.sections import (
    Budget,
    DeviceKind,
    Drift,
    Grpo,
    Guards,
    Lora,
    Method,
    Parallelism,
    Part,
    PositiveFloat,
    PositiveInt,
    Replay,
    Sampling,
    Share,
)

LossType = Literal["sigmoid", "ipo", "sft"]
SftRows = Literal["sft", "chosen", "both"]


FUNCTION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*:[A-Za-z0-9_][A-Za-z0-9._-]*$"
"""The name of an installed package, and of one of its entry points."""

UNSIZED_LENGTH = 512
"""Tokens of the longest sequence where nothing is known of the data, as when a run is only planned."""


class Recipe(Part, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    method: Method
    max_steps: PositiveInt | None = None
    """None: as many as `passes` take. With `passes`: at most this many."""
    passes: PositiveFloat | None = None
    """How often each row is trained on. None: until `max_steps`, or twice without those."""
    base: Annotated[str, Meta(min_length=1)] | None = None
    """For `heliotrope train`: the parent's checkpoint folder. Inside the loop the request names the parent."""
    dataset: Annotated[str, Meta(min_length=1)] | None = None
    """For `heliotrope train`: the dataset's folder. Inside the loop the request names the dataset."""
    learning_rate: PositiveFloat = 1e-4
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_ratio: Share = 0.0
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are clipped to this norm."""
    batch_size: PositiveInt = 4
    gradient_accumulation_steps: PositiveInt = 1
    max_length: Annotated[int, Meta(ge=8)] | None = None
    """Tokens of prompt and answer together; answers are cut behind it. None: so many that 99% of the rows fit, as far
    as the model and the memory go."""
    beta: PositiveFloat = 0.1
    """How strongly the reference holds the policy."""
    loss_type: Annotated[tuple[LossType, ...], Meta(min_length=1)] = ("sigmoid",)
    loss_weights: tuple[PositiveFloat, ...] | None = None
    """One for each loss type; None: 1 each."""
    sft_rows: SftRows = "sft"
    """What `sft` imitates: corrections and praised answers, the pairs' chosen answers, or both."""
    desirable_weight: PositiveFloat = 1.0
    undesirable_weight: PositiveFloat = 1.0
    harm_share: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """For `reward`: the share of its pairs that hold an answer which users reported as harmful against another one."""
    reward_model: Annotated[str, Meta(min_length=1)] | None = None
    """What `rloo`, `grpo` and `ppo` climb: the folder that a run of the method `reward` made."""
    reward_function: Annotated[str, Meta(pattern=FUNCTION_PATTERN)] | None = None
    """What `rloo` and `grpo` may climb instead: `package:entry point`, on the deployment's list."""
    kl_coefficient: Annotated[float, Meta(ge=0)] = 0.05
    """What a nat of KL to the parent costs in units of reward; `ppo` starts with it."""
    target_kl: PositiveFloat | None = None
    """For `ppo`: adapt the coefficient until an answer's KL is about this many nats. None: leave it."""
    sampling: Sampling = Sampling()
    grpo: Grpo = Grpo()
    tuning: Literal["lora", "full"] = "lora"
    """Train an adapter and merge it, or all weights."""
    lora: Lora = Lora()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the arithmetic. `auto`: bf16 where the device has units for it, else fp32. `fp16`, on GPUs only, scales the
    loss against underflow."""
    activation_checkpointing: bool = False
    """Compute each layer's activations again on the way back instead of keeping them."""
    compile: bool = False
    """Have torch compile the model's layers before the first steps."""
    length_grouped: bool = False
    """Batches of rows of like length, with less padding."""
    prefix_sharing: bool = True
    """Both answers of a pair behind one copy of their prompt, without padding, where the model allows it."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    save_steps: PositiveInt = 10
    logging_steps: PositiveInt = 1
    eval_steps: PositiveInt | None = None
    """Measure the validation split this often; None: never."""
    guards: Guards = Guards()
    parallelism: Parallelism = Parallelism()
    budget: Budget = Budget()
    device: DeviceKind | None = None
    """The kind of device that a worker must have. None: any worker will do."""
    launcher: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")] | None = None
    """Which of the deployment's launchers starts the run elsewhere. None: as the worker's settings say."""
    replay: Replay = Replay()
    drift: Drift = Drift()
    stages: "tuple[Recipe, ...]" = ()
    """For `ladder`: recipes of their own, each trained from the chat model of the one before it."""

    @property
    def trains_chat_model(self) -> bool:
        """Whether the outcome can answer users."""
        return self.method != "reward"

    @property
    def is_sized(self) -> bool:
        """Whether steps and length are known, and the data need not be looked at."""
        return self.max_steps is not None and self.passes is None and self.max_length is not None

    @property
    def steps(self) -> int:
        """Optimizer steps. `size_recipe` comes before."""
        assert self.max_steps is not None
        return self.max_steps

    @property
    def length(self) -> int:
        """Tokens of the longest sequence; `UNSIZED_LENGTH` where no `size_recipe` came before."""
        return self.max_length or UNSIZED_LENGTH

    @property
    def weighted_losses(self) -> list[tuple[LossType, float]]:
        """Each loss type with its weight."""
        weights = self.loss_weights or (1.0,) * len(self.loss_type)
        return list(zip(self.loss_type, weights, strict=True))
