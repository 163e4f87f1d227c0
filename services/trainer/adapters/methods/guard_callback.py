"""The callback that reports what a trainer does, and has the guards judge what it logs."""

import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from services.trainer.adapters.artifacts.checkpoints import GoodCheckpoints, save_training_seconds, sync_folder
from services.trainer.adapters.distributed.collectives import any_process_wants, is_distributed, wait_for_everyone
from services.trainer.adapters.distributed.hardware import PEAK_MEMORY, measure_peak_memory
from services.trainer.adapters.methods.validation_preference import ValidationPreference
from services.trainer.domain.guards.reward_hacking import PREFERENCE
from services.trainer.domain.guards.rules import (
    assess_metrics,
    assess_validation,
    explain_overrun,
    mark_skipped_step,
    settle_roll_back,
)
from services.trainer.domain.guards.verdict import ADJUSTED, GO_ON, Metrics, Verdict
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.ports import RunReporter


class GuardCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Reports steps, metrics and checkpoints, and ends or adjusts the run as the guards say."""

    def __init__(self, recipe: Recipe, reporter: RunReporter, preference: ValidationPreference | None = None) -> None:
        """Judge by the recipe's guards. `preference` is measured at the start and every `eval_steps`."""
        self._guards = recipe.guards
        self._precision = recipe.precision
        self._learning_rate = recipe.learning_rate
        self._eval_steps = recipe.eval_steps
        self._preference = preference
        self._reporter = reporter
        self._steps: list[Metrics] = []
        self._measurements: list[Metrics] = []
        self.checkpoints = GoodCheckpoints()
        self._remedies: list[str] = []
        self._roll_backs = self._halvings = self._doublings = 0
        self.verdict: Verdict = GO_ON
        self.interrupted = False
        self._budget = recipe.budget
        self._devices = recipe.parallelism.processes
        self._began = time.monotonic()

    def add_earlier_seconds(self, seconds: float) -> None:
        """Count the seconds that earlier attempts trained for."""
        self._began -= seconds

    @property
    def outcome(self) -> str:
        """Say why the run ended, and what was done to keep it going."""
        return "; ".join([*self._remedies, self.verdict.reason or "all steps taken"])

    def roll_back(self) -> Path | None:
        """Return the last good checkpoint, to go on from at half the learning rate."""
        self._halvings += 1
        self._roll_backs += 1
        self._remedies.append(f"back to a checkpoint, since {self.verdict.reason}")
        self.checkpoints.drop_later()
        self.verdict = GO_ON
        return self.checkpoints.newest

    def report_broken_policy(self, reason: str, step: int) -> None:
        """Judge a policy that broke before anything was logged."""
        self._settle(Verdict("roll back", reason), step)

    def _settle(self, verdict: Verdict, step: int) -> None:
        """Make this the run's verdict, or `stop` where no checkpoint is good."""
        has_checkpoint = self.checkpoints.newest is not None and not is_distributed()
        settled = settle_roll_back(verdict, done=self._roll_backs, guards=self._guards, has_checkpoint=has_checkpoint)
        self.verdict = settled
        self._reporter.on_metrics(step, {f"guards/{settled.action.replace(' ', '_')}": 1.0})
        self._note(settled, step)

    def _note(self, verdict: Verdict, step: int) -> None:
        self._reporter.on_note(f"{verdict.action} at step {step}: {verdict.reason}")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Load what the run logged before it was resumed: it is judged by all of that."""
        logged = [mark_skipped_step(_list_figures(entry), self._precision) for entry in state.log_history]
        self._steps = [entry for entry in logged if "loss" in entry]
        self._measurements = [entry for entry in logged if _is_measurement(entry)]
        if not is_distributed():  # whose schedulers are wrapped, and whose methods have no price of KL
            self._restore_remedies(args, kwargs["lr_scheduler"])
        if state.global_step == 0:
            self._measure_preference(state, control, kwargs["model"])

    def _restore_remedies(self, args: Any, scheduler: Any) -> None:
        self._halvings = max(self._halvings, count_halvings(scheduler, self._learning_rate))
        halve_learning_rate(scheduler, self._learning_rate, self._halvings)
        self._double_kl_cost(args, sum(ADJUSTED in entry for entry in self._steps))

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report a micro-batch."""
        self._reporter.on_micro_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the step; measure, judge the budget, and save and stop if the worker was told to."""
        self._reporter.on_step(state.global_step, state.max_steps)
        if self._eval_steps and state.global_step % self._eval_steps == 0:
            self._measure_preference(state, control, kwargs["model"])
        if self._budget.is_limited:
            self._judge_budget(state, control)
        if any_process_wants(self._reporter.stopping) and state.global_step < state.max_steps:
            self.interrupted = control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Report what was logged, and judge it."""
        figures = {**_list_figures(logs or {}), PEAK_MEMORY: measure_peak_memory()}
        metrics = mark_skipped_step(figures, self._precision)
        if "train_runtime" in metrics:  # the summary after the last step
            return
        self._reporter.on_metrics(state.global_step, metrics)
        if "loss" in metrics:
            self._steps.append(metrics)
            verdict = assess_metrics(self._steps, self._guards)
            if verdict.action in ("continue", "adjust"):
                self.checkpoints.confirm(state.global_step)
            if verdict.action == "adjust":
                self._adjust(verdict, args, state, kwargs["lr_scheduler"])
            else:
                self._judge(verdict, state, control)
        elif _is_measurement(metrics):
            self._judge_measurement(metrics, state, control)

    def _adjust(self, verdict: Verdict, args: Any, state: Any, scheduler: Any) -> None:
        self._halvings += 1
        halve_learning_rate(scheduler, self._learning_rate, self._halvings)
        self._double_kl_cost(args, self._doublings + 1)
        self._remedies.append(f"adjusted at step {state.global_step}, since {verdict.reason}")
        mark = {ADJUSTED: 1.0}
        self._steps[-1] = {**self._steps[-1], **mark}
        if state.log_history:  # for a run that resumes
            state.log_history[-1].update(mark)
        self._reporter.on_metrics(state.global_step, mark)
        self._note(verdict, state.global_step)

    def _double_kl_cost(self, args: Any, times: int) -> None:
        """Make KL cost what it did at the start, doubled this often, but never less than now."""
        if times > self._doublings:
            self.scale_kl_cost(args, 2.0 ** (times - self._doublings))
            self._doublings = times

    def scale_kl_cost(self, args: Any, factor: float) -> None:
        """Multiply the price of KL, for methods that have one."""

    def _measure_preference(self, state: Any, control: Any, model: Any) -> None:
        share = self._preference.measure(getattr(model, "policy", model)) if self._preference else None
        if share is None:
            return
        state.log_history.append({PREFERENCE: share, "step": state.global_step})  # for a run that resumes
        self._reporter.on_metrics(state.global_step, {PREFERENCE: share})
        self._judge_measurement({PREFERENCE: share}, state, control)

    def _judge_measurement(self, measurement: Metrics, state: Any, control: Any) -> None:
        self._measurements.append(measurement)
        self._judge(assess_validation(self._measurements, self._steps, self._guards), state, control)

    def _judge_budget(self, state: Any, control: Any) -> None:
        overrun = explain_overrun(self._budget, self._seconds, self._devices)
        if any_process_wants(overrun is not None):
            self._judge(Verdict("finish", overrun or "the budget is used up"), state, control)

    @property
    def _seconds(self) -> float:
        """Seconds of training, over all attempts."""
        return time.monotonic() - self._began

    def _judge(self, verdict: Verdict, state: Any, control: Any) -> None:
        if verdict.action == "continue" or self.verdict.action != "continue":  # the first verdict counts
            return
        self._settle(verdict, state.global_step)
        self._end(control)

    def _end(self, control: Any) -> None:
        control.should_training_stop = True
        control.should_save = self.verdict.action != "roll back"

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the checkpoint once it is on the disk of every process."""
        if self.verdict.action in ("stop", "roll back"):
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        save_training_seconds(checkpoint, self._seconds)
        sync_folder(checkpoint)
        wait_for_everyone()
        self._reporter.on_checkpoint(checkpoint)
        self.checkpoints.add(state.global_step, checkpoint)


def _list_figures(logs: dict[str, Any]) -> Metrics:
    return {name: float(value) for name, value in logs.items()}


def _is_measurement(metrics: Metrics) -> bool:
    return "eval_loss" in metrics or PREFERENCE in metrics


def count_halvings(scheduler: Any, initial: float) -> int:
    """Count how often the learning rate was halved since it was `initial`; a checkpoint's scheduler still knows."""
    return round(math.log2(initial / scheduler.base_lrs[0]))


def halve_learning_rate(scheduler: Any, initial: float, halvings: int) -> None:
    """Let the schedule go on as if it had begun at `initial`, halved this often."""
    base = initial * 0.5**halvings
    for group in scheduler.optimizer.param_groups:
        group["lr"] *= base / scheduler.base_lrs[0]
        group["initial_lr"] = base
    scheduler.base_lrs = [base] * len(scheduler.base_lrs)
