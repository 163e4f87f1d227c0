"""Groups of settings in a recipe, and the checked numbers that they are made of."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PositiveInt = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
DeviceKind = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Point = Literal["parent", "anchor"]
"""What a candidate's movement is measured from: its parent, or the first model of its line."""


Method = Literal["sft", "dpo", "kto", "reward", "rloo", "grpo", "ppo", "ladder"]


Strategy = Literal["auto", "single", "ddp", "zero2", "zero3", "fsdp2"]
ZERO_STAGES: dict[Strategy, int] = {"zero2": 2, "zero3": 3}
DISTRIBUTED_METHODS = ("sft", "dpo", "kto")
"""Methods that can be spread. The others hold models beside the policy that TRL places by itself."""


PRECISION_METHODS: tuple[Method, ...] = ("sft", "dpo", "kto", "reward", "rloo", "grpo")
"""Methods whose arithmetic a recipe may choose; TRL's PPO works in fp32."""


SAMPLING_METHODS: tuple[Method, ...] = ("rloo", "grpo", "ppo")
"""Methods that have the policy answer, and learn from what its answers are worth."""
GROUP_METHODS: tuple[Method, ...] = ("rloo", "grpo")
"""Those that compare several answers to the same prompt."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings; unknown names are mistakes."""


class Lora(Part, frozen=True, kw_only=True):
    r: PositiveInt = 16
    alpha: PositiveInt = 32
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Meta(min_length=1)] = "all-linear"
    last_layers: PositiveInt | None = None
    """Adapt only this many layers, from the top: nothing flows back below them, so steps are faster. None: all."""


class Sampling(Part, frozen=True, kw_only=True):
    """How `rloo`, `grpo` and `ppo` have the policy answer."""

    max_new_tokens: PositiveInt = 64
    temperature: PositiveFloat = 1.0
    answers_per_prompt: Annotated[int, Meta(ge=2)] = 4
    """For `rloo`, each answer's baseline is the mean reward of the others; for `grpo`, that of all of them."""
    cut_off_penalty: Annotated[float, Meta(ge=0)] = 1.0
    """Taken off the reward of an answer that did not end by itself."""


class Grpo(Part, frozen=True, kw_only=True):
    """What `grpo` makes of the rewards."""

    loss: Literal["dr_grpo", "dapo", "bnpo", "grpo"] = "dr_grpo"
    """What the tokens' losses are divided by: a constant (Liu et al. 2025), the tokens of the step (Yu et al. 2025),
    the tokens of the micro-batch, or each answer by its own tokens (Shao et al. 2024)."""
    scale_rewards: Literal["none", "group", "batch"] = "none"
    """Divide an answer's advantage by the standard deviation of the rewards to its prompt, or of the step's."""
    mask_cut_off: bool = False
    """Leave answers that did not end by themselves out of the loss; their rewards count in the mean of the others."""


class Guards(Part, frozen=True, kw_only=True):
    """When to stop by itself; see `services.trainer.domain.guards.rules`."""

    max_gradient_norm: PositiveFloat = 1000.0
    max_gradient_ratio: Annotated[float, Meta(gt=1)] | None = 30.0
    """Times the running median that the gradient norm may last at. None: any."""
    max_margin: PositiveFloat = 20.0
    """Mean reward margin, in nats, above which the pairs have nothing left to teach."""
    max_kl: PositiveFloat | None = None
    """Nats to the parent: of a token for `rloo` and `grpo`, of an answer for `ppo`, as each logs it. None: any."""
    max_adjustments: Annotated[int, Meta(ge=0)] = 3
    """How often learning rate and price of KL may be adjusted while the KL is between its ceiling and twice that."""
    max_roll_backs: Annotated[int, Meta(ge=0)] = 2
    """How often an attempt may go back to its last good checkpoint."""
    min_entropy_share: Share = 0.1
    """Share of its entropy at the start that a sampling policy must keep."""
    min_reward_spread: Annotated[float, Meta(ge=0)] = 1e-4
    """Rewards closer together than this teach nothing."""
    max_length_ratio: Annotated[float, Meta(gt=1)] | None = 4.0
    """Times their length at the start that sampled answers may be longer or shorter. None: any."""
    min_distinct_share: Share = 0.3
    """Share of its start that distinct-2 must keep: the share of different bigrams in the sampled answers."""
    max_preference_drop: Share = 0.15
    """How far the share of validation pairs ranked right may fall below its best while the reward rises."""
    eval_patience: PositiveInt | None = 5
    """Measurements of the validation loss without a new best. None: any."""
    patience: PositiveInt = 5
    """Logged steps that a state must last for, and that figures are smoothed over."""


class Parallelism(Part, frozen=True, kw_only=True):
    strategy: Strategy = "single"
    """One process; or data-parallel copies, among which ZeRO (Rajbhandari et al. 2020) divides the optimizer's state
    and the gradients (`zero2`), or the weights too (`zero3`; torch's own `fsdp2`). `auto`: what the planner chooses."""
    processes: PositiveInt = 1
    """Each takes `batch_size` rows at a time, so a step's batch is so many times as large."""
    nodes: PositiveInt = 1
    """Machines that the processes are on, as many on each; more than one needs a launcher."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What the host's memory keeps: nothing, the optimizer's state (ZeRO), or the weights too (`zero3`, `fsdp2`)."""

    @property
    def here(self) -> int | None:
        """How many processes each machine has; None: as many as the planner finds devices for."""
        return None if self.strategy == "auto" else self.processes // self.nodes

    @property
    def is_distributed(self) -> bool:
        """Whether it takes several processes; `auto` must have been planned before."""
        return self.strategy != "single"


class Budget(Part, frozen=True, kw_only=True):
    """A run that has used it up ends there, and keeps what it learned."""

    max_minutes: PositiveFloat | None = None
    """Of training, over all attempts. None: any."""
    max_cost: PositiveFloat | None = None
    """In whatever money `cost_per_device_hour` is in. None: any."""
    cost_per_device_hour: PositiveFloat | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.max_minutes is not None or self.max_cost is not None


class Replay(Part, frozen=True, kw_only=True):
    """How old rows are mixed with new ones; see `services.trainer.domain.replay`."""

    ratio: NotNegative | None = None
    """Old rows for each new one. None: every row of the dataset."""
    half_life: PositiveFloat | None = None
    """Snapshots after which a row is half as likely to be drawn. None: age does not count."""
    rule_weights: dict[str, NotNegative] | None = None
    """For `dpo` and `reward`: what a pair's weight is multiplied by, by the rule that made it. None: 1 each."""
    folders: tuple[str, ...] | None = None
    """For `heliotrope train`: earlier snapshots' folders, newest first. Inside the loop their chain is known."""

    @property
    def is_asked_for(self) -> bool:
        """Whether the dataset must be mixed."""
        return self != Replay()


class Drift(Part, frozen=True, kw_only=True):
    """What a candidate's movement is measured on, and how far it may go; see `services.trainer.domain.guards.kl`."""

    examples: Annotated[int, Meta(ge=0)] = 16
    """Validation prompts to measure on; 0: measure nothing."""
    max_parent_kl: PositiveFloat | None = None
    """Nats a token to the parent. None: any."""
    max_anchor_kl: PositiveFloat | None = None
    """Nats a token to the anchor: what may add up over generations. None: any."""

    @property
    def ceilings(self) -> dict[Point, float]:
        """What a candidate may move by from each point, in nats a token, where there is a limit."""
        ceilings: dict[Point, float | None] = {"parent": self.max_parent_kl, "anchor": self.max_anchor_kl}
        return {point: ceiling for point, ceiling in ceilings.items() if ceiling is not None}
