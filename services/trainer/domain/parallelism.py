"""How a run is spread over processes, a device each."""

from typing import Any, Literal

from services.trainer.domain.recipe_part import Part, PositiveInt
from shared.errors import FieldError

Strategy = Literal["auto", "single", "ddp", "zero2", "zero3", "fsdp2"]
ZERO_STAGES: dict[Strategy, int] = {"zero2": 2, "zero3": 3}
METHODS = ("sft", "dpo", "kto")
"""Methods that can be spread. The others hold models beside the policy that TRL places by itself."""


class Parallelism(Part, frozen=True, kw_only=True):
    strategy: Strategy = "single"
    """One process; or data-parallel copies, among which ZeRO (Rajbhandari et al. 2020) divides the optimizer's state
    and the gradients (`zero2`), or the weights too (`zero3`; torch's own `fsdp2`). `auto`: what the planner chooses."""
    processes: PositiveInt = 1
    """Each takes `batch_size` rows at a time, so a step's batch is so many times as large."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What the host's memory keeps: nothing, the optimizer's state (ZeRO), or the weights too (`zero3`, `fsdp2`)."""

    @property
    def is_spread(self) -> bool:
        """`auto` must have been planned before."""
        return self.strategy != "single"


def assess_parallelism(parallelism: Parallelism, method: str) -> list[FieldError]:
    """
    - `single` is one process, the others but `auto` are at least two; `auto` chooses processes and offloading itself
    - only some methods can be spread; `auto` then means `single`
    - only ZeRO and FSDP offload; weights only with stage 3, and FSDP moves all or nothing
    """
    errors: list[FieldError] = []
    strategy, offload = parallelism.strategy, parallelism.offload
    if strategy == "single" and parallelism.processes != 1:
        errors.append(FieldError("parallelism.processes", "more than one needs a strategy: ddp, zero2, zero3 or fsdp2"))
    if strategy not in ("single", "auto") and parallelism.processes < 2:
        errors.append(FieldError("parallelism.processes", f"{strategy} needs at least 2"))
    if strategy == "auto" and parallelism.processes != 1:
        errors.append(FieldError("parallelism.processes", "not used by the strategy auto, which counts the devices"))
    if strategy not in ("single", "auto") and method not in METHODS:
        errors.append(FieldError("parallelism.strategy", f"the method {method} trains in one process only"))
    if offload != "none" and strategy not in (*ZERO_STAGES, "fsdp2"):
        errors.append(FieldError("parallelism.offload", f"not used by the strategy {strategy}"))
    if offload == "optimizer" and strategy == "fsdp2":
        errors.append(FieldError("parallelism.offload", "fsdp2 moves all or nothing; use all, or zero3"))
    if offload == "all" and strategy == "zero2":
        errors.append(FieldError("parallelism.offload", "zero2 keeps the weights on each device; use zero3"))
    return errors


def build_deepspeed_config(parallelism: Parallelism) -> dict[str, Any] | None:
    """DeepSpeed's configuration, with `auto` where transformers knows the figure; None when DeepSpeed is not used.

    The optimizer is torch's AdamW: DeepSpeed's own would be compiled on the spot, which needs a compiler.
    """
    stage = ZERO_STAGES.get(parallelism.strategy)
    if stage is None:
        return None
    zero: dict[str, Any] = {"stage": stage, "contiguous_gradients": True}
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if parallelism.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu"}
    if parallelism.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    return {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "gradient_clipping": "auto",
        "gradient_accumulation_steps": "auto",
        "train_micro_batch_size_per_gpu": "auto",  # DeepSpeed multiplies up the whole batch by itself
    }


def build_fsdp_config(parallelism: Parallelism, *, activation_checkpointing: bool) -> dict[str, Any] | None:
    """What transformers takes as `fsdp_config`; None when FSDP is not used. Each layer is divided by itself."""
    if parallelism.strategy != "fsdp2":
        return None
    return {
        "version": 2,
        "state_dict_type": "SHARDED_STATE_DICT",  # for the whole one transformers lets every process save, and crashes
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "cpu_offload": parallelism.offload == "all",
        "activation_checkpointing": activation_checkpointing,
    }
