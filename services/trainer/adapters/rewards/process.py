"""A reward function at work: in a process of its own, with an empty environment and a deadline for each batch.

What it is kept from is what it has no business with: the worker's environment (secrets, addresses), its open
connections, its memory and its files. It has the worker's user and network; that is why only functions on the
deployment's list are run.
"""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from services.trainer.adapters.rewards.functions import RewardFunction
from services.trainer.domain.training import NO_FUNCTIONS, RewardRules, TrainingFailed

logger = structlog.get_logger(__name__)

CHILD = Path(__file__).with_name("child.py")
REPLY_BYTES, REWARD_BYTES = 4096, 40
"""What a reply may take, and what each reward in it may."""


class RewardProcess:
    """The process, from `with` to its end."""

    def __init__(self, function: RewardFunction, rules: RewardRules = NO_FUNCTIONS) -> None:
        """Ask `function`, with the time and the places that these rules give it."""
        self._function = function
        self._seconds = rules.seconds
        self._places = json.dumps({"readable": rules.readable, "writable": rules.writable})

    def __enter__(self) -> Self:
        """Start the process. Raises: TrainingFailed: the function cannot be imported."""
        self._folder = tempfile.TemporaryDirectory(prefix="reward-")
        self._threads = ThreadPoolExecutor(1)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(CHILD), self._function.place, self._function.target, self._places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env=self._make_environment(),
            start_new_session=True,
        )
        try:
            started = self._call(None, 0)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        if not started["is_shut_off"]:
            logger.warning("reward_function_not_shut_off", function=self._function.name, lacking="Landlock")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill whatever it has started, and delete what it wrote."""
        self._kill()
        self._threads.shutdown()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe and pipe.close()
        self._folder.cleanup()

    def score(self, prompts: list[Any], completions: list[Any]) -> list[float]:
        """Score the answers to these prompts; both are lists of conversations, as TRL's reward functions take them.

        Raises:
            TrainingFailed: it took too long, failed, or gave anything but a finite number for each answer.
        """
        rewards: list[float] = self._call({"prompts": prompts, "completions": completions}, len(completions))["rewards"]
        if len(rewards) != len(completions):
            raise self._fail(f"gave {len(rewards)} rewards for {len(completions)} answers")
        if strange := [reward for reward in rewards if not math.isfinite(reward)]:
            raise self._fail(f"gave {strange[0]} as a reward, {len(strange)} of {len(rewards)} are no finite numbers")
        return rewards

    def _make_environment(self) -> dict[str, str]:
        folder = self._folder.name
        return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": folder, "TMPDIR": folder, "OMP_NUM_THREADS": "1"}

    def _call(self, arguments: dict[str, Any] | None, count: int) -> dict[str, Any]:
        """Send a call, or None to wait until the process has started; returns its reply."""
        waiting = self._threads.submit(self._exchange, arguments, REPLY_BYTES + count * REWARD_BYTES)
        try:
            reply: dict[str, Any] = json.loads(waiting.result(self._seconds))
        except TimeoutError as error:
            self._kill()
            raise self._fail(f"did not answer within {self._seconds:g} s") from error
        except (OSError, ValueError) as error:
            self._kill()
            raise self._fail("ended, or answered too much at once") from error
        if "error" in reply:
            raise self._fail(f"failed: {reply['error']}")
        return reply

    def _exchange(self, arguments: dict[str, Any] | None, limit: int) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if arguments is not None:
            self._process.stdin.write(json.dumps(arguments).encode() + b"\n")
            self._process.stdin.flush()
        return self._process.stdout.readline(limit)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _fail(self, problem: str) -> TrainingFailed:
        return TrainingFailed(f"reward_function: {self._function.name} {problem}")
