"""A recipe: everything a training run is made of, apart from its parent and its data.

Each default is the value that the demo's model was measured with, or upstream's own.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from services.trainer.domain.budget import Budget, find_budget_errors
from services.trainer.domain.drift import Drift
from services.trainer.domain.guard_limits import Guards
from services.trainer.domain.parallelism import Parallelism, assess_parallelism
from services.trainer.domain.recipe_part import DeviceKind, Part, PositiveFloat, PositiveInt, Share
from services.trainer.domain.replay import Replay
from shared.errors import FieldError, InvalidRequest

LossType = Literal["sigmoid", "ipo", "sft"]
Method = Literal["sft", "dpo", "kto", "reward", "rloo", "ppo", "ladder"]
SftRows = Literal["sft", "chosen", "both"]


class Lora(Part, frozen=True, kw_only=True):
    r: PositiveInt = 16
    alpha: PositiveInt = 32
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Meta(min_length=1)] = "all-linear"
    last_layers: PositiveInt | None = None
    """Adapt only this many layers, from the top: nothing flows back below them, so steps are faster. None: all."""


class Sampling(Part, frozen=True, kw_only=True):
    """How `rloo` and `ppo` have the policy answer."""

    max_new_tokens: PositiveInt = 64
    temperature: PositiveFloat = 1.0
    answers_per_prompt: Annotated[int, Meta(ge=2)] = 4
    """For `rloo`: each answer's baseline is the mean reward of the others."""
    cut_off_penalty: Annotated[float, Meta(ge=0)] = 1.0
    """For `ppo`: taken off the reward of an answer that did not end by itself."""


class Recipe(Part, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    method: Method
    max_steps: PositiveInt
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
    max_length: Annotated[int, Meta(ge=8)] = 512
    """Tokens of prompt and answer together; answers are cut behind it."""
    beta: PositiveFloat = 0.1
    """How strongly the reference holds the policy."""
    loss_type: Annotated[tuple[LossType, ...], Meta(min_length=1)] = ("sigmoid",)
    loss_weights: tuple[PositiveFloat, ...] | None = None
    """One for each loss type; None: 1 each."""
    sft_rows: SftRows = "sft"
    """What `sft` imitates: corrections and praised answers, the pairs' chosen answers, or both."""
    desirable_weight: PositiveFloat = 1.0
    undesirable_weight: PositiveFloat = 1.0
    reward_model: Annotated[str, Meta(min_length=1)] | None = None
    """What `rloo` and `ppo` climb: the folder that a run of the method `reward` made."""
    kl_coefficient: Annotated[float, Meta(ge=0)] = 0.05
    """What a nat of KL to the parent costs in units of reward; `ppo` starts with it."""
    target_kl: PositiveFloat | None = None
    """For `ppo`: adapt the coefficient until an answer's KL is about this many nats. None: leave it."""
    sampling: Sampling = Sampling()
    tuning: Literal["lora", "full"] = "lora"
    """Train an adapter and merge it, or all weights."""
    lora: Lora = Lora()
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the arithmetic; `fp16`, on GPUs only, scales the loss against underflow."""
    activation_checkpointing: bool = False
    """Compute each layer's activations again on the way back instead of keeping them."""
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
    replay: Replay = Replay()
    drift: Drift = Drift()
    stages: "tuple[Recipe, ...]" = ()
    """For `ladder`: recipes of their own, each trained from the chat model of the one before it."""

    @property
    def trains_chat_model(self) -> bool:
        return self.method != "reward"

    @property
    def weighted_losses(self) -> list[tuple[LossType, float]]:
        weights = self.loss_weights or (1.0,) * len(self.loss_type)
        return list(zip(self.loss_type, weights, strict=True))


def parse_recipe(content: object) -> Recipe:
    """The recipe in this mapping, with defaults filled in.

    Raises:
        InvalidRequest: with one `FieldError` for each field that is wrong, unknown or missing.
    """
    if not isinstance(content, Mapping):
        raise InvalidRequest("a recipe is a mapping of settings", errors=[FieldError("recipe", "not a mapping")])
    content = dict(content)
    if isinstance(content.get("loss_type"), str):
        content["loss_type"] = [content["loss_type"]]
    content = _complete_ladder(content)
    errors = _find_errors(content)
    if not errors:
        recipe = msgspec.convert(content, Recipe)
        errors = _find_contradictions(recipe)
        if not errors:
            return recipe
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    raise InvalidRequest(detail, errors=errors)


def _complete_ladder(content: dict[str, Any]) -> dict[str, Any]:
    """A ladder's steps are its stages' steps, so nobody has to write them down."""
    stages = content.get("stages")
    if content.get("method") != "ladder" or not isinstance(stages, list | tuple):
        return content
    for_msgspec = [_with_loss_list(stage) for stage in stages]
    steps = [stage.get("max_steps") if isinstance(stage, Mapping) else None for stage in stages]
    total = sum(step for step in steps if isinstance(step, int))
    return {"max_steps": max(total, 1)} | content | {"stages": for_msgspec}


def _with_loss_list(stage: object) -> object:
    if isinstance(stage, Mapping) and isinstance(stage.get("loss_type"), str):
        return dict(stage) | {"loss_type": [stage["loss_type"]]}
    return stage


METHOD_FIELDS: dict[str, tuple[Method, ...]] = {
    "beta": ("dpo", "kto"),
    "loss_type": ("dpo",),
    "loss_weights": ("dpo",),
    "sft_rows": ("sft",),
    "desirable_weight": ("kto",),
    "undesirable_weight": ("kto",),
    "reward_model": ("rloo", "ppo"),
    "kl_coefficient": ("rloo", "ppo"),
    "target_kl": ("ppo",),
    "sampling": ("rloo", "ppo"),
    "eval_steps": ("sft", "dpo", "kto", "reward", "rloo", "ppo"),
    "stages": ("ladder",),
    "activation_checkpointing": ("sft", "dpo", "kto", "reward", "rloo"),
    "length_grouped": ("sft", "dpo"),
    "prefix_sharing": ("dpo",),
}
"""Fields that only some methods use. Another method's recipe may hold their defaults, as a stored one does."""


OF_LADDER_ALONE = ("base", "dataset", "device", "replay", "drift")
LADDER_FIELDS = ("name", "method", "max_steps", "stages", *OF_LADDER_ALONE)


def _find_contradictions(recipe: Recipe) -> list[FieldError]:
    """Mistakes of fields that are right each by itself."""
    if recipe.method != "ladder":
        return _find_method_errors(recipe)
    errors = [
        FieldError(field.name, "not used by a ladder itself: write it into its stages")
        for field in msgspec.structs.fields(Recipe)
        if field.name not in LADDER_FIELDS and getattr(recipe, field.name) != field.default
    ]
    if not recipe.stages or not recipe.stages[-1].trains_chat_model:
        errors.append(FieldError("stages", "the last stage must train a chat model"))
    if recipe.max_steps != max(sum(stage.max_steps for stage in recipe.stages), 1):
        errors.append(FieldError("max_steps", "not the sum of the stages' steps; a ladder needs none"))
    has_reward_model, untouched = False, Recipe(name="none", method="sft", max_steps=1)
    for index, stage in enumerate(recipe.stages):
        found = _find_method_errors(stage, has_reward_model=has_reward_model)
        found += [
            FieldError(name, "not used by a stage, only by the ladder")
            for name in OF_LADDER_ALONE
            if getattr(stage, name) != getattr(untouched, name)
        ]
        if stage.method == "ladder":
            found.append(FieldError("method", "a stage is no ladder"))
        errors += [FieldError(f"stages[{index}].{error.field}", error.message) for error in found]
        has_reward_model |= stage.method == "reward"
    return errors


def _find_method_errors(recipe: Recipe, *, has_reward_model: bool = False) -> list[FieldError]:
    """`has_reward_model`: an earlier stage trains one."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(Recipe)}
    errors = [
        FieldError(name, f"not used by the method {recipe.method}, only by {', '.join(methods)}")
        for name, methods in METHOD_FIELDS.items()
        if recipe.method not in methods and getattr(recipe, name) != defaults[name]
    ]
    if recipe.tuning == "full" and recipe.lora != Lora():
        errors.append(FieldError("lora", "not used when tuning is full"))
    if recipe.loss_weights is not None and len(recipe.loss_weights) != len(recipe.loss_type):
        errors.append(FieldError("loss_weights", f"needs one weight for each of {len(recipe.loss_type)} loss types"))
    errors += find_budget_errors(recipe.budget)
    errors += assess_parallelism(recipe.parallelism, recipe.method)
    if recipe.replay.rule_weights is not None and recipe.method not in ("dpo", "reward"):
        message = f"not used by the method {recipe.method}, only by dpo, reward"
        errors.append(FieldError("replay.rule_weights", message))
    if recipe.method == "kto" and recipe.batch_size < 2:
        errors.append(FieldError("batch_size", "kto compares the answers of a batch, so it needs at least 2"))
    return errors + (_find_sampling_errors(recipe, has_reward_model) if recipe.method in ("rloo", "ppo") else [])


def _find_sampling_errors(recipe: Recipe, has_reward_model: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if recipe.reward_model is None and not has_reward_model:
        errors.append(FieldError("reward_model", f"required by the method {recipe.method}"))
    if recipe.max_length <= recipe.sampling.max_new_tokens:
        errors.append(
            FieldError("sampling.max_new_tokens", f"leaves no room for a prompt in {recipe.max_length} tokens")
        )
    if recipe.method == "rloo":
        step, answers = recipe.batch_size * recipe.gradient_accumulation_steps, recipe.sampling.answers_per_prompt
        if step % answers:
            message = f"a step's {step} answers are no multiple of the {answers} for each prompt"
            errors.append(FieldError("sampling.answers_per_prompt", message))
        if recipe.sampling.cut_off_penalty != Sampling().cut_off_penalty:
            errors.append(FieldError("sampling.cut_off_penalty", "not used by the method rloo, only by ppo"))
    elif recipe.sampling.answers_per_prompt != Sampling().answers_per_prompt:
        errors.append(FieldError("sampling.answers_per_prompt", "not used by the method ppo, only by rloo"))
    return errors


def _find_errors(content: Mapping[str, Any], part: type[Part] = Recipe, prefix: str = "") -> list[FieldError]:
    fields = {field.name: field for field in msgspec.structs.fields(part)}
    errors = [FieldError(f"{prefix}{name}", "unknown field") for name in content if name not in fields]
    for name, field in fields.items():
        if name in content:
            errors += _find_errors_of_field(content[name], field.type, prefix + name)
        elif field.required:
            errors.append(FieldError(prefix + name, "required"))
    return errors


def _find_errors_of_field(value: object, kind: Any, path: str) -> list[FieldError]:
    if isinstance(kind, type) and issubclass(kind, Part) and isinstance(value, Mapping):
        return _find_errors(value, kind, f"{path}.")
    if path == "stages" and isinstance(value, list | tuple) and all(isinstance(stage, Mapping) for stage in value):
        return [
            error for index, stage in enumerate(value) for error in _find_errors(stage, Recipe, f"{path}[{index}].")
        ]
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return [_locate(path, str(error))]
    return []


def _locate(name: str, message: str) -> FieldError:
    """msgspec ends its messages with ` - at `$.inner.path``."""
    words, _, path = message.partition(" - at `$")
    return FieldError(name + path.rstrip("`"), words)


def dump_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values, defaults included."""
    content: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    return content


def calculate_recipe_sha256(recipe: Recipe) -> str:
    """SHA-256 (hex) of the canonical content, defaults included: comments and order in the file do not count."""
    return hashlib.sha256(msgspec.json.encode(recipe, order="sorted")).hexdigest()
