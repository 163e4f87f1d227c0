"""`python -m services.trainer.bootstrap.rank <order file>`: a process of a spread run, started by `accelerate launch`.

The first process reports to the launcher, which alone holds the claim; the others say nothing.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from services.trainer.adapters.launching import ERROR, OUTCOME, REPORTS, STOP, die_with_parent, read_order
from services.trainer.adapters.shortages import explain_shortages
from services.trainer.bootstrap.methods import TRAIN_HERE
from services.trainer.domain.training import Interrupted, OutOfMemory, TrainingFailed, Watch
from services.trainer.domain.verdict import Metrics


def main(order_file: Path) -> None:
    die_with_parent()
    order = read_order(order_file)
    folder = order_file.parent
    is_first = os.environ["RANK"] == "0"
    watch = ReportingWatch(folder) if is_first else SilentWatch(folder)
    outcome: dict[str, Any]
    try:
        with explain_shortages(folder):
            trained = TRAIN_HERE[order.job.recipe.method](order.threads, order.job, watch)
        outcome = {"trained": trained.__dict__}
    except Interrupted as error:
        outcome = {"interrupted": error.detail}
    except OutOfMemory as error:
        (folder / f"{ERROR}.{os.environ['RANK']}").write_text(
            f"{OutOfMemory.__name__}: {error.detail}", encoding="utf-8"
        )
        raise
    except TrainingFailed as error:
        outcome = {"failed": error.detail, "cause": error.cause}
    except Exception as error:
        (folder / f"{ERROR}.{os.environ['RANK']}").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise
    if is_first:
        draft = folder / f"{OUTCOME}.draft"
        draft.write_text(json.dumps(outcome), encoding="utf-8")
        draft.replace(folder / OUTCOME)


class SilentWatch(Watch):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def stopping(self) -> bool:
        return (self._folder / STOP).exists()

    def on_phase(self, phase: str) -> None:
        """Told by the first process."""

    def on_step(self, step: int, total: int) -> None:
        """Told by the first process."""

    def on_micro_step(self) -> None:
        """The launcher looks after the claim."""

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        """Told by the first process."""

    def on_note(self, note: str) -> None:
        """Told by the first process."""

    def on_checkpoint(self, checkpoint: Path) -> None:
        """Told by the first process."""


class ReportingWatch(SilentWatch):
    """A line of JSON for each call."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file = (folder / REPORTS).open("a", encoding="utf-8")

    def _report(self, *call: Any) -> None:
        print(json.dumps(call), file=self._file, flush=True)

    def on_phase(self, phase: str) -> None:
        self._report("phase", phase)

    def on_step(self, step: int, total: int) -> None:
        self._report("step", step, total)

    def on_metrics(self, step: int, metrics: Metrics) -> None:
        self._report("metrics", step, dict(metrics))

    def on_note(self, note: str) -> None:
        self._report("note", note)

    def on_checkpoint(self, checkpoint: Path) -> None:
        self._report("checkpoint", str(checkpoint))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
