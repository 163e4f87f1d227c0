"""What happens while a trainer trains, told to the watch and judged by the guards."""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from services.trainer.adapters.checkpoints import sync_folder
from services.trainer.adapters.preference import ValidationPreference
from services.trainer.adapters.ranks import agree, wait_for_all
from services.trainer.domain.guards import assess_metrics, assess_validation
from services.trainer.domain.recipe import Recipe
from services.trainer.domain.reward_hacking import PREFERENCE
from services.trainer.domain.training import Watch
from services.trainer.domain.verdict import GO_ON, Metrics, Verdict


class Observer(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Tells the watch what happens, and has the guards judge what is logged."""

    def __init__(self, recipe: Recipe, watch: Watch, preference: ValidationPreference | None = None) -> None:
        """`preference` is measured at the start and every `eval_steps`."""
        self._guards = recipe.guards
        self._eval_steps = recipe.eval_steps
        self._preference = preference
        self._watch = watch
        self._steps: list[Metrics] = []
        self._measurements: list[Metrics] = []
        self.verdict: Verdict = GO_ON
        self.interrupted = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A run that resumes is judged by all that it logged, not only by what follows."""
        logged = [_list_figures(entry) for entry in state.log_history]
        self._steps = [entry for entry in logged if "loss" in entry]
        self._measurements = [entry for entry in logged if _is_measurement(entry)]
        if state.global_step == 0:
            self._measure_preference(state, control, kwargs["model"])

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.on_micro_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.on_step(state.global_step, state.max_steps)
        if self._eval_steps and state.global_step % self._eval_steps == 0:
            self._measure_preference(state, control, kwargs["model"])
        if agree(self._watch.stopping) and state.global_step < state.max_steps:
            self.interrupted = control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        metrics = _list_figures(logs or {})
        if "train_runtime" in metrics:  # the summary after the last step
            return
        self._watch.on_metrics(state.global_step, metrics)
        if "loss" in metrics:
            self._steps.append(metrics)
            self._judge(assess_metrics(self._steps, self._guards), state, control)
        elif _is_measurement(metrics):
            self._judge_measurement(metrics, state, control)

    def _measure_preference(self, state: Any, control: Any, model: Any) -> None:
        share = self._preference.measure(getattr(model, "policy", model)) if self._preference else None
        if share is None:
            return
        state.log_history.append({PREFERENCE: share, "step": state.global_step})  # for a run that resumes
        self._watch.on_metrics(state.global_step, {PREFERENCE: share})
        self._judge_measurement({PREFERENCE: share}, state, control)

    def _judge_measurement(self, measurement: Metrics, state: Any, control: Any) -> None:
        self._measurements.append(measurement)
        self._judge(assess_validation(self._measurements, self._steps, self._guards), state, control)

    def _judge(self, verdict: Verdict, state: Any, control: Any) -> None:
        if verdict.action == "continue" or self.verdict.action != "continue":  # the first verdict counts
            return
        self.verdict = verdict
        self._watch.on_metrics(state.global_step, {f"guards/{verdict.action}": 1.0})
        self._end(control)

    def _end(self, control: Any) -> None:
        control.should_training_stop = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.verdict.action == "stop":
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        sync_folder(checkpoint)
        wait_for_all()
        self._watch.on_checkpoint(checkpoint)


def _list_figures(logs: dict[str, Any]) -> Metrics:
    return {name: float(value) for name, value in logs.items()}


def _is_measurement(metrics: Metrics) -> bool:
    return "eval_loss" in metrics or PREFERENCE in metrics
