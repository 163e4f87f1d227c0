"""What happens while a trainer trains, told to the watch and judged by the guards."""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from services.trainer.adapters.checkpoints import sync_folder
from services.trainer.domain.guards import GO_ON, Metrics, Verdict, assess_metrics
from services.trainer.domain.recipe import Recipe
from services.trainer.domain.training import Watch


class Observer(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Tells the watch what happens, and has the guards judge what is logged."""

    def __init__(self, recipe: Recipe, watch: Watch) -> None:
        self._guards = recipe.guards
        self._watch = watch
        self._history: list[Metrics] = []
        self.verdict: Verdict = GO_ON
        self.interrupted = False

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.on_micro_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.on_step(state.global_step, state.max_steps)
        if self._watch.stopping and state.global_step < state.max_steps:
            self.interrupted = control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        if "train_runtime" in metrics:  # the summary after the last step
            return
        self._watch.on_metrics(state.global_step, metrics)
        if "loss" in metrics:
            self._history.append(metrics)
            self._judge(control)
            if self.verdict.action != "continue":
                self._watch.on_metrics(state.global_step, {f"guards/{self.verdict.action}": 1.0})

    def _judge(self, control: Any) -> None:
        guards = self._guards
        self.verdict = assess_metrics(
            self._history,
            max_gradient_norm=guards.max_gradient_norm,
            max_margin=guards.max_margin,
            patience=guards.patience,
        )
        if self.verdict.action != "continue":
            control.should_training_stop = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.verdict.action == "stop":
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        sync_folder(checkpoint)
        self._watch.on_checkpoint(checkpoint)
