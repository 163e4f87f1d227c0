"""Several processes that train one model: started, followed and ended through `accelerate launch`.

The launcher is a `Train` like any method: it passes on what the first process reports, and looks after the claim.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from services.trainer.adapters.distributed.exchange import (
    ERROR,
    LOG,
    ORDER,
    OUTCOME,
    REPORTS,
    STOP,
    dump_order,
    pass_on,
    read_reports,
)
from services.trainer.domain.planning.places import Place
from services.trainer.domain.training import Interrupted, Job, OutOfMemory, TrainingFailed, TrainingResult
from services.trainer.ports import RunReporter
from shared.errors import HeliotropeError

logger = structlog.get_logger(__name__)

LOOK_SECONDS = 0.2
END_SECONDS = 20.0
"""How long processes may take to end once their outcome is there; some libraries hang or crash on their way out."""
LOG_CHARACTERS = 600
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # a forked child must not load anything


class ProcessesDied(HeliotropeError):
    title = "Training processes died"


def launch(threads: int, job: Job, reporter: RunReporter) -> TrainingResult:
    """Train as the recipe's parallelism says. A child that dies takes the others with it.

    Raises: as `services.trainer.domain.training.Train`, and ProcessesDied.
    """
    folder = job.checkpoints
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (folder / REPORTS, folder / OUTCOME, *folder.glob(f"{ERROR}.*")):  # of a try that ran out of memory
        stale.unlink(missing_ok=True)
    (folder / ORDER).write_text(json.dumps(dump_order(job, threads)), encoding="utf-8")
    with (folder / LOG).open("wb") as log:
        launcher = subprocess.Popen(
            _make_command(job.recipe.parallelism.processes, job.place, folder / ORDER),
            env=_make_environment(threads),
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        _follow(launcher, folder, reporter)
        trained = _read_outcome(launcher, folder)
        _wait_for_end(launcher)
        return trained
    finally:
        _kill(launcher)


def _make_command(processes: int, place: Place, order: Path) -> list[str]:
    options = ["--num_processes", str(processes), "--num_machines", str(place.count)]
    if place.count == 1:
        options += ["--main_process_port", "0"]
    else:
        options += ["--machine_rank", str(place.rank), "--main_process_ip", place.address]
        options += ["--main_process_port", str(place.port)]
    fixed = ("--multi_gpu",) if processes > 1 else ()
    return [
        *(sys.executable, "-m", "accelerate.commands.launch", *fixed, *options),
        *("--mixed_precision", "no", "--dynamo_backend", "no"),  # the recipe's precision goes to the trainer
        *("-m", "services.trainer.bootstrap.rank", str(order)),
    ]


def _make_environment(threads: int) -> dict[str, str]:
    import torch

    environment = dict(os.environ)
    environment["OMP_NUM_THREADS"] = str(threads or 1)
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[3]), environment.get("PYTHONPATH", "")])
    if not torch.cuda.is_available():
        environment |= {"DS_ACCELERATOR": "cpu", "CUDA_HOME": ""}
    return environment


def _follow(launcher: "subprocess.Popen[bytes]", folder: Path, reporter: RunReporter) -> None:
    """Pass reports on until the outcome is there or the processes are gone. Raises: StaleClaim, from the reporter."""
    reports = read_reports(folder / REPORTS)
    while True:
        is_over = launcher.poll() is not None or (folder / OUTCOME).exists()
        for report in reports:
            if report is None:
                break
            pass_on(report, reporter)
        reporter.on_micro_step()
        if reporter.stopping:
            (folder / STOP).touch()
        if is_over:
            return
        time.sleep(LOOK_SECONDS)


def _read_outcome(launcher: "subprocess.Popen[bytes]", folder: Path) -> TrainingResult:
    """Read what the first process wrote; it counts, however the processes end afterwards."""
    path = folder / OUTCOME
    if not path.exists():
        words = _find_error_text(folder)
        raise OutOfMemory(words) if words.startswith(OutOfMemory.__name__) else ProcessesDied(words)
    outcome = json.loads(path.read_bytes())
    if "failed" in outcome:
        raise TrainingFailed(outcome["failed"], outcome["cause"])
    if "interrupted" in outcome:
        raise Interrupted(outcome["interrupted"])
    return msgspec.convert(outcome["trained"], TrainingResult)


def _find_error_text(folder: Path) -> str:
    """Find what ended the first process to fail; the others then complain of its absence."""
    errors = sorted(folder.glob(f"{ERROR}.*"), key=lambda path: path.stat().st_mtime_ns)
    if errors:
        return errors[0].read_text(encoding="utf-8")[:LOG_CHARACTERS]
    return (folder / LOG).read_text(encoding="utf-8", errors="replace").strip()[-LOG_CHARACTERS:]


def _wait_for_end(launcher: "subprocess.Popen[bytes]") -> None:
    with suppress(subprocess.TimeoutExpired):
        launcher.wait(END_SECONDS)
    if launcher.returncode != 0:
        logger.warning("ranks_ended_badly", status=launcher.returncode)


def _kill(launcher: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(launcher.pid, signal.SIGKILL)
    launcher.wait(END_SECONDS)


def die_with_parent() -> None:
    """Have Linux kill this process when its parent dies, so that no run goes on unseen. Elsewhere: nothing."""
    with suppress(AttributeError):
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
