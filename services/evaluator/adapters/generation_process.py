"""Generation in a process of its own, so that its memory goes back when it is done."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import msgspec

from services.evaluator.adapters.generation import (
    DivergencesLine,
    FailureLine,
    Line,
    PairsLine,
    ProgressLine,
    RepliesLine,
)
from services.evaluator.domain.pair_accuracy import HeldOutPair
from services.evaluator.ports import (
    AnswerGenerator,
    Generated,
    GenerationFailed,
    GenerationJob,
    Keep,
    Progress,
    Replies,
    forget,
    summarise,
)

COMMAND = (sys.executable, "-m", "services.evaluator", "generate")
POLL_SECONDS = 2.0
# OpenMP's threads spin while they wait. On 2 cores shared with a training, generation took 5 to 12 times as long so.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}


class SubprocessGenerator(AnswerGenerator):
    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command

    def generate(
        self, job: GenerationJob, heartbeat: Callable[[Progress | None], None], keep: Keep = forget
    ) -> Generated:
        for model in job.models:
            if not Path(model.checkpoint).is_dir():
                raise GenerationFailed(f"no checkpoint folder {model.checkpoint}", version=model.version)
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT | os.environ
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin, job)
            return _collect(process, process.stdout, job, heartbeat, keep)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def _send(pipe: IO[bytes], job: GenerationJob) -> None:
    """Send the job and keep standard input open: its end tells the child that its parent is gone."""
    try:
        pipe.write(msgspec.json.encode(job) + b"\n")
        pipe.flush()
    except BrokenPipeError as error:
        raise GenerationFailed("the generating process did not start") from error


def _collect(
    process: "subprocess.Popen[bytes]",
    output: IO[bytes],
    job: GenerationJob,
    heartbeat: Callable[[Progress | None], None],
    keep: Keep,
) -> Generated:
    lines: queue.Queue[bytes | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(output, lines), daemon=True)
    reader.start()
    replies: Replies = {model.version: dict(model.replies) for model in job.models}
    divergences: dict[str, float] | None = None
    pairs: dict[str, HeldOutPair] | None = None
    while True:
        try:
            raw = lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            heartbeat(None)
            continue
        if raw is None:
            break
        line = msgspec.json.decode(raw, type=Line)
        if isinstance(line, FailureLine):
            raise GenerationFailed(line.summary, version=line.version)
        if isinstance(line, RepliesLine):
            keep(line.version, line.replies)
            replies[line.version] |= line.replies
        if isinstance(line, DivergencesLine):
            divergences = line.divergences
        if isinstance(line, PairsLine):
            pairs = line.pairs
        if isinstance(line, ProgressLine):
            heartbeat(line.progress)
    status = process.wait()
    if status != 0 or any(len(own) < len(job.prompts) for own in replies.values()):
        raise GenerationFailed(f"the generating process ended with status {status} before it was done")
    return summarise(replies, divergences, pairs)


def _read(output: IO[bytes], lines: "queue.Queue[bytes | None]") -> None:
    for line in output:
        lines.put(line)
    lines.put(None)
