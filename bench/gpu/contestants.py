"""Who runs in `make gpu-check`: our methods, and scripts that a user of TRL would write for the same recipe."""

import gc
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.gpu.stopwatch import Enough, Stopwatch
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job

PLAIN: dict[str, Any] = {}
TUNED = {"gradient_checkpointing": False}
"""TRL at its fastest as far as its own switches go; for DPO the reference is computed before the first step besides."""
LIGER = {"gradient_checkpointing": False, "use_liger_kernel": True}
SCRIPTS = {"plain TRL": PLAIN, "tuned TRL": TUNED, "TRL with Liger": LIGER}
OURS, UNCOMPILED = "ours", "ours uncompiled"


def run_ours(job: Job, watch: Stopwatch) -> None:
    from services.trainer.bootstrap.methods import METHODS

    watch.on_phase("loading")
    with suppress(Enough):
        METHODS[job.recipe.method](0, job, watch)
    watch.end_phase()


def run_script(name: str, job: Job, watch: Stopwatch) -> int:
    """Return how many rows it took at a time: as many as fit, found by halving."""
    import torch

    watch.on_phase("loading")
    rows = job.recipe.batch_size
    while True:
        try:
            _train(build_script(name, job, rows), watch)
        except torch.OutOfMemoryError:
            pass
        except Enough:
            break
        else:
            break
        if rows == 1:
            raise RuntimeError("not even one row fits")
        rows //= 2
        watch.on_note(f"memory ran out: on with {rows} rows at a time")
        clear_memory()
    watch.end_phase()
    return rows


def _train(trainer: Any, watch: Stopwatch) -> None:
    from transformers import TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watch.on_step(state.global_step, state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            watch.on_metrics(state.global_step, {key: float(value) for key, value in logs.items()})

    trainer.add_callback(Report())
    watch.on_phase("training")
    trainer.train()


def build_script(name: str, job: Job, rows: int) -> Any:
    """Build a plain script: data and order are the recipe's, all else is TRL's default or what its name says."""
    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    recipe = job.recipe
    tokenizer = AutoTokenizer.from_pretrained(job.parent)
    pairs = load_dataset("parquet", data_files=str(job.dataset / "train.parquet"), split="train")
    arguments = _list_arguments(recipe, job.checkpoints, rows) | SCRIPTS[name]
    given = {"processing_class": tokenizer, "peft_config": _choose_adapter(recipe)}
    if recipe.method == "dpo":
        if name == "tuned TRL":
            arguments |= {"precompute_ref_log_probs": True, "precompute_ref_batch_size": rows}
        pairs = pairs.select_columns(["prompt", "chosen", "rejected"])
        return DPOTrainer(model=str(job.parent), args=DPOConfig(**arguments), train_dataset=pairs, **given)
    answers = pairs.select_columns(["prompt", "chosen"]).rename_column("chosen", "completion")
    return SFTTrainer(model=str(job.parent), args=SFTConfig(**arguments), train_dataset=answers, **given)


def _choose_adapter(recipe: Recipe) -> Any:
    from peft import LoraConfig

    if recipe.tuning == "full":
        return None
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return LoraConfig(r=recipe.lora.r, lora_alpha=recipe.lora.alpha, target_modules=names, task_type="CAUSAL_LM")


def _list_arguments(recipe: Recipe, folder: Path, rows: int) -> dict[str, Any]:
    import torch

    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": recipe.max_steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.lr_scheduler,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": recipe.batch_size // rows,
        "max_length": recipe.max_length,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": recipe.precision == "bf16",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    if recipe.tuning == "lora" and recipe.precision == "bf16":  # else 8B would not fit beside its activations
        arguments["model_init_kwargs"] = {"dtype": "bfloat16"}
    return arguments


def clear_memory() -> None:
    import torch

    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
