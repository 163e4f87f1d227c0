"""lm-eval in a process of its own, so that its memory goes back, and its imports cost nobody else, when it is done."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from services.evaluator.adapters.generation_process import ENVIRONMENT, POLL_SECONDS
from services.evaluator.adapters.task_harness import TaskLine
from services.evaluator.ports import TaskAnswers, TaskJob, TaskRunner, TasksFailed

COMMAND = (sys.executable, "-m", "services.evaluator", "tasks")


class SubprocessTaskRunner(TaskRunner):
    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command

    def run(self, job: TaskJob, heartbeat: Callable[[], None]) -> TaskAnswers:
        for folder in (job.folder, *([] if job.endpoint else [job.model])):
            if not Path(folder).is_dir():
                raise TasksFailed(f"no folder {folder}")
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT | os.environ
        )
        try:
            return _read(_converse(process, msgspec.json.encode(job), heartbeat), process)
        finally:
            process.kill()
            process.wait()


def _converse(process: "subprocess.Popen[bytes]", job: bytes, heartbeat: Callable[[], None]) -> bytes:
    """Send the job and wait for the line; input stays open, its end tells the child that its parent is gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        process.stdin.write(job + b"\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        raise TasksFailed("the process of the tasks did not start") from error
    while reader.is_alive():
        reader.join(POLL_SECONDS)
        heartbeat()
    process.stdin.close()
    process.stdout.close()
    return lines[-1] if lines else b""


def _read(raw: bytes, process: "subprocess.Popen[bytes]") -> TaskAnswers:
    if not raw:
        raise TasksFailed(f"the process of the tasks ended with status {process.wait()} before it was done")
    line = msgspec.json.decode(raw, type=TaskLine)
    if line.answers is None:
        raise TasksFailed(line.failure or "nothing was said")
    return line.answers
