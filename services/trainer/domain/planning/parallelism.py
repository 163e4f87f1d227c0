"""How a run is spread over processes, a device each."""

from typing import Any

from services.trainer.domain.recipe.sections import ZERO_STAGES, Parallelism


def build_deepspeed_config(parallelism: Parallelism) -> dict[str, Any] | None:
    """Return DeepSpeed's configuration, with `auto` where transformers knows the figure; None when DeepSpeed is not
    used.

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
    # without a disk that machines share, each keeps its own part
    storage = {"checkpoint": {"use_node_local_storage": True}} if parallelism.nodes > 1 else {}
    return {
        **storage,
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
    """Build what transformers takes as `fsdp_config`; None when FSDP is not used. Each layer is divided by itself."""
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
