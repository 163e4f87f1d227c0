"""Looks of a checkout's drift monitor, which may be an older one, at a filled database: `python look.py URL DAYS`.

Run with that checkout as PYTHONPATH. It writes a line of JSON for each look: which one, CPU of this process in ms and
peak memory in MiB; it waits for a line on stdin before each, so that whoever started it can read the database's CPU.
"""

import importlib
import json
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from services.curator.config.settings import CuratorSettings, MonitorSettings

NEVER = 10**9
"""Pairs that would have to be new: what is measured is looking, not freezing."""
START = datetime(2026, 11, 1, tzinfo=UTC)
"""As bench.size.tables fills them."""


def make_monitor(url: str, clock: Any) -> Any:
    """Make the monitor of the checkout that runs: its modules lay elsewhere before."""
    bootstrap = importlib.import_module("services.curator.app.bootstrap_monitor")
    try:
        handlers = importlib.import_module("services.curator.monitor.handlers.look")
    except ImportError:
        handlers = importlib.import_module("services.curator.monitor.handlers")
    settings = (CuratorSettings(volume_pairs=NEVER), MonitorSettings())
    try:
        rules = bootstrap.derive_rules(*settings, "bench")
    except TypeError:
        rules = bootstrap.derive_rules(*settings)
    options = "-c statement_timeout=30000"
    sessions = sessionmaker(create_engine(url, connect_args={"options": options}), expire_on_commit=False)
    return handlers.Monitor(sessions, "heliotrope", rules, refuse, refuse, clock)


def refuse(*_: object, **__: object) -> None:
    raise RuntimeError("nothing is to be asked for")


def main(url: str, days: str) -> None:
    """Look once at the end of each of the last days, and twice more."""
    last = START + timedelta(days=int(days))
    ends = [last - timedelta(days=3) + timedelta(days=n, hours=1) for n in range(4)]
    now = [START]
    monitor = make_monitor(url, partial(now.__getitem__, 0))
    names = ["first look after a start", *["look that closes a day"] * 3, *["look that closes nothing"] * 5]
    for name, at in zip(names, [*ends, *[ends[-1]] * 5], strict=True):
        now[0] = at
        sys.stdin.readline()
        started, clock = time.process_time(), time.perf_counter()
        try:
            monitor.look()
            error = None
        except Exception as failure:
            error = type(failure).__name__
        line = {
            "name": name,
            "cpu_ms": (time.process_time() - started) * 1e3,
            "ms": (time.perf_counter() - clock) * 1e3,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "error": error,
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
