"""What may be written in a recipe: each field with what is allowed, its default, and why that is the default."""

import difflib
import re
import typing
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from services.trainer.domain import drift, replay
from services.trainer.domain.recipe import Recipe
from services.trainer.domain.recipe_part import Part

REASONS = {
    "name": "how requests, metrics and results call the run",
    "method": "there is no method that suits every kind of feedback",
    "max_steps": "the right number depends on the data; a default would be wrong for most",
    "base": "inside the loop the request names the parent; `heliotrope train` needs it here or as --base",
    "dataset": "inside the loop the request names the dataset; `heliotrope train` needs it here or as --dataset",
    "learning_rate": "the usual size for LoRA: at 1e-4 constant, 40 steps taught SmolLM2 its users' taste",
    "lr_scheduler": "a run that a guard ends early has then learned at the rate that was asked for",
    "warmup_ratio": "LoRA starts at the parent exactly, so its first steps need no protection",
    "weight_decay": "the reference already holds the policy near its parent",
    "max_grad_norm": "the value of transformers; one odd pair cannot throw the weights",
    "batch_size": "pairs in memory at a time: 4 of 128 tokens of a 135M model train within 5 GB",
    "gradient_accumulation_steps": "no accumulation until memory asks for it",
    "max_length": "room for a prompt of several turns and its answer; memory grows with it",
    "beta": "the value of the DPO paper's experiments (Rafailov et al. 2023) and of TRL",
    "loss_type": "plain DPO; `sft` beside it keeps the likelihood of the chosen answers from falling",
    "sft_rows": "what people wrote or praised themselves; `chosen` when there is too little of it",
    "desirable_weight": "both kinds of label count the same; with lopsided labels weigh the rarer kind up, as the KTO "
    "paper's equation 8 has it",
    "undesirable_weight": "see desirable_weight",
    "reward_model": "there is no reward that suits everybody; relative to the recipe's file in `heliotrope train`",
    "kl_coefficient": "the value of TRL",
    "target_kl": "a fixed coefficient is simpler to read; set a target when reward and KL run away together",
    "sampling.max_new_tokens": "short answers keep CPU runs short; as long as served answers are is better",
    "sampling.temperature": "learn from the answers as the policy gives them",
    "sampling.answers_per_prompt": "the baseline of three others is steady enough (Ahmadian et al. 2024 use 2 and 4)",
    "sampling.cut_off_penalty": "otherwise endless answers are as good as ended ones to a reward model that saw few",
    "tuning": "an adapter trains in a fraction of the memory and moves less; `full` for small models or large shifts",
    "loss_weights": "each loss counts once until there is a measurement that says otherwise",
    "lora.r": "enough for taste and tone; the demo was measured with it",
    "lora.alpha": "twice the rank, so the update is scaled by 2",
    "lora.dropout": "runs are short, and a run that resumes repeats exactly without it",
    "lora.target_modules": "every linear layer, as QLoRA found necessary to match full training (Dettmers et al. 2023)",
    "lora.last_layers": "all layers; fewer from the top are faster, since nothing flows back below them",
    "precision": "bf16 is no faster in training on CPUs without matrix units, and less exact",
    "seed": "a run repeats exactly unless another seed is asked for",
    "save_steps": "at most this many steps are lost with a worker",
    "logging_steps": "guards judge what is logged: every step",
    "eval_steps": "measuring the validation split costs time that short runs rather spend on training; `rloo` and "
    "`ppo` measure there how often people's choice is the likelier answer",
    "device": "most deployments have one kind of worker; name a kind (`gpu`, `h100`) that some worker's settings name",
    "stages": "one method is enough for most; RLOO and PPO need a reward model, and DPO may follow SFT",
    "budget.max_minutes": "the number of steps bounds a run already; set it where slowness must not hold the queue",
    "budget.max_cost": "see max_minutes",
    "budget.cost_per_device_hour": "only you know what your devices cost",
    "activation_checkpointing": "a third more computing for most of the activations' memory: only when it does not fit",
    "length_grouped": "rows come in an order of chance; grouped, a batch holds less padding but similar rows",
    "prefix_sharing": "the same log-probabilities in less than half of the time; one process only, and models whose "
    "attention takes a mask (tried before training; others are trained with padding)",
    "parallelism.strategy": "a small model on one device needs no other; zero2 when the optimizer's state does not fit "
    "beside the weights, zero3 or fsdp2 when the weights themselves do not; auto would depend on the machine",
    "parallelism.processes": "one device; a step's batch grows with the number",
    "parallelism.offload": "the host's memory is slower than the device's: only when the model does not fit otherwise",
    "guards.max_gradient_norm": "only an explosion is meant: clipping takes care of what is merely large",
    "guards.max_gradient_ratio": "steps differ tenfold in healthy runs; most of `patience` steps at 30 times the usual "
    "are no noise",
    "guards.max_margin": "beyond 20 nats the sigmoid's gradient is gone, and language was seen to suffer",
    "guards.max_kl": "too far depends on the model and on the length of answers; 0.5 a token is far in rloo",
    "guards.max_adjustments": "an eighth of the learning rate should do; a run that needs less has the wrong recipe",
    "guards.max_roll_backs": "a quarter of the learning rate should do; bad data explode at any",
    "guards.min_entropy_share": "a policy that climbs a reward grows surer of itself; at a tenth it says one thing",
    "guards.min_reward_spread": "a reward model that scores everything alike, or answers that are all the same",
    "guards.max_length_ratio": "better answers may well be half or twice as long; at four times something is hacked",
    "guards.min_distinct_share": "answers that repeat themselves lose most of their different bigrams",
    "guards.max_preference_drop": "far more than a few pairs near the border that change sides",
    "guards.eval_patience": "measured every eval_steps; five without a new best are overfitting rather than noise",
    "guards.patience": "one saturated batch is luck; five in a row are not",
}


REASONS |= replay.REASONS | drift.REASONS


@dataclass(frozen=True)
class Field:
    path: str
    allowed: str
    default: str
    """As YAML has it; empty for a required field."""
    reason: str


def list_fields(part: type[Part] = Recipe, prefix: str = "") -> list[Field]:
    """Every field of a recipe in the order of the declaration, those of groups by dotted path."""
    fields: list[Field] = []
    for field in msgspec.structs.fields(part):
        path = prefix + field.name
        if isinstance(field.type, type) and issubclass(field.type, Part):
            fields += list_fields(field.type, f"{path}.")
        else:
            default = "" if field.required else msgspec.json.encode(field.default).decode()
            fields.append(Field(path, describe_type(field.type), default, REASONS[path]))
    return fields


def describe_type(kind: Any) -> str:
    """What values a field takes, in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        bounds = "".join(_describe_bounds(meta) for meta in arguments[1:])
        return describe_type(arguments[0]) + bounds
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if isinstance(kind, type) and issubclass(kind, Part):
        return "recipe"
    if origin in (typing.Union, UnionType):
        return " | ".join(describe_type(argument) for argument in arguments)
    if origin is tuple:
        return f"list of ({describe_type(arguments[0])})"
    if origin is dict:
        return f"a {describe_type(arguments[1])} by rule"
    return {bool: "true | false", int: "whole number", float: "number", str: "text", type(None): "null"}[kind]


def _describe_bounds(meta: Meta) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    words = [f" {sign} {getattr(meta, name)}" for name, sign in signs.items() if getattr(meta, name) is not None]
    return ",".join(words)


def explain_mistake(path: str, message: str) -> str:
    """What to write in place of a mistake that `parse_recipe` found at this path."""
    path = re.sub(r"^stages\[\d+\]\.", "", path)
    fields = {field.path: field for field in list_fields()}
    if message == "unknown field":
        near = difflib.get_close_matches(path, fields, n=1)
        return f"did you mean {near[0]}?" if near else "leave it out"
    if message.startswith("not used"):
        return "leave it out"
    place = path.partition("[")[0]
    if place not in fields:
        inner = sorted({name.split(".")[1] for name in fields if name.startswith(f"{place}.")})
        return f"a group of: {', '.join(inner)}" if inner else "see docs/recipes.md"
    allowed = f"allowed: {fields[place].allowed}"
    if "number" in fields[place].allowed and "got `str`" in message:
        return f"{allowed}; YAML reads 2e-3 as text, write 2.0e-3"
    return allowed


def render_reference() -> str:
    """The page docs/recipes.md."""
    rows = [
        f"| `{field.path}` | {_escape(field.allowed)} | {f'`{field.default}`' if field.default else 'required'} "
        f"| {_escape(field.reason)} |"
        for field in list_fields()
    ]
    return "\n".join([INTRODUCTION, "| field | allowed | default | why |", "|---|---|---|---|", *rows, ""])


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


INTRODUCTION = """# Recipes

A recipe is a YAML file that describes a training run. `heliotrope recipe check FILE` explains every mistake in one;
`heliotrope train FILE` runs one without the rest of the system (see [training](training.md)). This page is what
`heliotrope recipe reference` prints; a test keeps it so.
"""
