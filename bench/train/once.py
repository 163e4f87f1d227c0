"""One training by DPO in a process of its own, for `bench.train`: by plain or tuned TRL, or by the trainer.

The clock runs from after the imports to the end of the last step: loading, tokenizing, reference log-probabilities,
logging and checkpoints count; saving the outcome does not (`total_seconds` has it, too).
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import yaml

EVAL_STEPS = 2
"""Between two looks at the validation split, when asked for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", choices=["plain", "tuned", "padded", "ours"])
    parser.add_argument("base", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("recipe", type=Path, help="what all three agree on, as a recipe")
    parser.add_argument("--evaluate", action="store_true", help="measure the validation accuracy on the way")
    given = parser.parse_args()
    recipe = yaml.safe_load(given.recipe.read_text(encoding="utf-8"))
    given.output.mkdir(parents=True)
    run = run_trl if given.variant in ("plain", "tuned") else run_ours
    figures = run(given, recipe)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (given.output / "figures.json").write_text(json.dumps(figures | {"peak_mib": peak}), encoding="utf-8")


def run_ours(given: argparse.Namespace, recipe: dict[str, Any]) -> dict[str, Any]:
    """Train as `heliotrope train` does: guards, checkpoints, metrics on disk, the candidate with its card."""
    import torch  # noqa: F401  # so that its import is on no clock
    import trl  # noqa: F401

    from services.trainer.adapters.methods import dpo  # noqa: F401
    from services.trainer.bootstrap.standalone import train_file

    file = given.output / "recipe.yaml"
    changes: dict[str, Any] = {"prefix_sharing": given.variant == "ours"}
    if given.evaluate:
        changes["eval_steps"] = EVAL_STEPS
    file.write_text(yaml.safe_dump(recipe | changes, sort_keys=False), encoding="utf-8")
    clock = Clock()

    def say(line: str) -> None:
        print(line, file=sys.stderr)
        if line == "saving":
            clock.end_training()
        elif line.startswith("step "):
            clock.end_step()

    train_file(file, base=given.base, dataset=given.dataset, output=given.output / "run", threads=0, print_line=say)
    entries = (given.output / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return clock.read() | {"accuracies": list_accuracies([json.loads(line) for line in entries])}


def run_trl(given: argparse.Namespace, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the script that a user of TRL would write; `tuned`, with all that the trainer sets otherwise than TRL."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    clock = Clock()
    splits = load_dataset(
        "parquet", data_files={name: str(given.dataset / f"{name}.parquet") for name in ("train", "validation")}
    ).select_columns(["prompt", "chosen", "rejected"])
    tuned = {
        "bf16": False,
        "gradient_checkpointing": False,
        "precompute_ref_log_probs": True,
        "precompute_ref_batch_size": recipe["batch_size"],
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
    }
    arguments = DPOConfig(
        output_dir=str(given.output / "checkpoints"),
        max_steps=recipe["max_steps"],
        per_device_train_batch_size=recipe["batch_size"],
        per_device_eval_batch_size=recipe["batch_size"],
        learning_rate=recipe["learning_rate"],
        lr_scheduler_type="constant",
        seed=0,  # a recipe's default, so that rows come in the same order
        max_length=512,
        logging_steps=1,
        save_steps=recipe["save_steps"],
        eval_strategy="steps" if given.evaluate else "no",
        eval_steps=EVAL_STEPS,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        **(tuned if given.variant == "tuned" else {}),
    )
    lora = recipe["lora"]
    trainer = DPOTrainer(
        model=str(given.base),
        args=arguments,
        train_dataset=splits["train"],
        eval_dataset=splits["validation"] if given.evaluate else None,
        processing_class=AutoTokenizer.from_pretrained(given.base),
        peft_config=LoraConfig(r=lora["r"], lora_alpha=lora["alpha"], target_modules="all-linear"),
        callbacks=[make_callback(clock)],
    )
    trainer.train()
    clock.end_training()
    trainer.model.merge_and_unload().save_pretrained(given.output / "candidate")
    return clock.read() | {"accuracies": list_accuracies(trainer.state.log_history)}


class Clock:
    """Seconds since it was made: until each step, until training ended, and until it is read."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._steps: list[float] = []
        self._trained = 0.0

    def end_step(self) -> None:
        self._steps.append(time.monotonic() - self._began)

    def end_training(self) -> None:
        self._trained = time.monotonic() - self._began

    def read(self) -> dict[str, Any]:
        return {"seconds": self._trained, "steps": self._steps, "total_seconds": time.monotonic() - self._began}


def make_callback(clock: Clock) -> Any:
    from transformers import TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            clock.end_step()

    return Steps()


def list_accuracies(entries: list[dict[str, Any]]) -> list[tuple[int, float]]:
    """Return (step, share of validation pairs ranked right)."""
    name = "eval_rewards/accuracies"
    return [(entry["step"], entry[name]) for entry in entries if name in entry]


if __name__ == "__main__":
    main()
