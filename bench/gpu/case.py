"""`python -m bench.gpu.case SPEC OUT`: one measured run in a process of its own, by our methods or by plain TRL."""

import json
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.training import Job

WARM_UP = 2
"""Steps that are not counted: kernels are chosen and memory is fetched in them."""


@dataclass
class Pace:
    """A watch that takes the time of each step, and otherwise lets the run be."""

    steps: list[float]
    stopping: bool = False

    def on_phase(self, phase: str) -> None:
        """Not measured."""

    def on_micro_step(self) -> None:
        """Not measured."""

    def on_step(self, step: int, total: int) -> None:
        self.steps.append(time.monotonic())

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Not measured."""

    def on_note(self, note: str) -> None:
        """Not measured."""

    def on_checkpoint(self, checkpoint: Path) -> None:
        """Not measured."""

    @property
    def seconds_a_step(self) -> float:
        counted = self.steps[WARM_UP:]
        return (counted[-1] - counted[0]) / (len(counted) - 1)


@dataclass(frozen=True)
class Measured:
    seconds_a_step: float
    peak_bytes: int
    """Of the fullest device; on a CPU of the process."""


def measure_ours(job: Job) -> Measured:
    from services.trainer.bootstrap.methods import METHODS

    pace = Pace([])
    METHODS[job.recipe.method](0, job, pace)
    record = job.checkpoints / "parallelism.json"
    held = json.loads(record.read_text())["held"] if record.exists() else []
    return Measured(pace.seconds_a_step, max([each["peak_bytes"] for each in held], default=measure_peak()))


def measure_plain(job: Job) -> Measured:
    """The script that a user of TRL would write for the same recipe."""
    from transformers import TrainerCallback

    pace = Pace([])

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            pace.on_step(state.global_step, state.max_steps)

    trainer = build_plain(job)
    trainer.add_callback(Clock())
    trainer.train()
    return Measured(pace.seconds_a_step, measure_peak())


def build_plain(job: Job) -> Any:
    from datasets import Dataset, load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    recipe = job.recipe
    model = AutoModelForCausalLM.from_pretrained(job.parent, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(job.parent)
    pairs = load_dataset("parquet", data_files=str(job.dataset / "train.parquet"), split="train")
    if recipe.method == "ppo":
        return _build_plain_ppo(job, model, tokenizer, pairs)
    arguments = _list_arguments(recipe, job.checkpoints) | {"max_length": recipe.max_length}
    if recipe.method == "dpo":
        return DPOTrainer(model=model, args=DPOConfig(**arguments), train_dataset=pairs, processing_class=tokenizer)
    rows: Any = [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs]
    answers = Dataset.from_list(rows)
    return SFTTrainer(model=model, args=SFTConfig(**arguments), train_dataset=answers, processing_class=tokenizer)


def _build_plain_ppo(job: Job, model: Any, tokenizer: Any, pairs: Any) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    recipe = job.recipe
    judges = [
        AutoModelForSequenceClassification.from_pretrained(recipe.reward_model, num_labels=1, dtype="float32")
        for _ in range(2)
    ]
    prompts = [
        tokenizer.apply_chat_template(pair["prompt"], add_generation_prompt=True, tokenize=True, return_dict=False)
        for pair in pairs
    ]
    tokenizer.padding_side = "left"
    arguments = _list_arguments(recipe, job.checkpoints) | {
        "total_episodes": recipe.max_steps * recipe.batch_size,
        "response_length": recipe.sampling.max_new_tokens,
        "num_sample_generations": 0,
        "local_rollout_forward_batch_size": recipe.batch_size,
    }
    return PPOTrainer(
        args=PPOConfig(**arguments),
        processing_class=tokenizer,
        model=model,
        ref_model=None,
        reward_model=judges[0],
        value_model=judges[1],
        train_dataset=Dataset.from_dict({"input_ids": prompts}),
    )


def _list_arguments(recipe: Recipe, folder: Path) -> dict[str, Any]:
    import torch

    return {
        "output_dir": str(folder),
        "max_steps": recipe.max_steps,
        "learning_rate": recipe.learning_rate,
        "per_device_train_batch_size": recipe.batch_size,
        "bf16": recipe.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "activation_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def measure_peak() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(spec_file: Path, out: Path) -> None:
    spec = json.loads(spec_file.read_text())
    recipe, folder = parse_recipe(spec["recipe"]), Path(spec["folder"])
    job = Job(recipe, Path(spec["parent"]), Path(spec["dataset"]), folder, None, folder / "candidate")
    folder.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(asdict((measure_plain if spec["plain"] else measure_ours)(job))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
