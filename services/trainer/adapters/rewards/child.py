"""The process of a reward function: `python -I child.py FOLDER MODULE:ATTRIBUTE`.

It imports nothing of Heliotrope. A line of JSON in holds the arguments of one call, a line out its rewards, or what
went wrong. What the function prints goes nowhere.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from operator import attrgetter
from typing import Any

FILE_BYTES = 64 << 20
"""The largest file that it may write."""


def main(folder: str, target: str) -> None:
    """Answer calls until there are no more."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nobody is left to stop it otherwise
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    calls, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nothing, stream)

    def reply(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        sys.path.append(folder)
        module, _, attribute = target.partition(":")
        function = attrgetter(attribute)(importlib.import_module(module))
    except BaseException as error:
        reply({"error": describe(error)})
        return
    reply({"rewards": []})
    for call in calls:
        try:
            reply({"rewards": [float(reward) for reward in function(**json.loads(call))]})
        except Exception as error:
            reply({"error": describe(error)})


def describe(error: BaseException) -> str:
    """Name the error in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


if __name__ == "__main__":
    main(*sys.argv[1:])
