"""Load on the release from a namespace that is not its own, and what of it came to the tables."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.kubernetes.cluster import (
    NAMESPACE,
    PODS,
    RELEASE,
    SLIM,
    STRANGERS,
    finish_pod,
    kubectl,
    say,
    start_pod,
)

GATEWAY = f"http://{RELEASE}-gateway.{NAMESPACE}:8002"
INGEST = f"http://{RELEASE}-ingest.{NAMESPACE}:8001"


@dataclass
class Load:
    """What the clients of one load saw; filled in once it has ended."""

    report: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Answers and accepted events that are in no table."""
        return sum(len(self.report[name]) - self.stored[name] for name in ("answered", "accepted"))

    @property
    def twice(self) -> int:
        """Judgements of these answers beyond those that were accepted; an unacknowledged one may be there, once."""
        return max(0, self.stored["rows"] - len(self.report["accepted"]) - int(self.report["unsure"]))

    def tell(self, over: str) -> None:
        report = self.report
        say(
            f"{over}: {len(report['answered'])} answers ({report['streams']} by streams, the longest "
            f"{report['longest_seconds']:.0f} s), {len(report['accepted'])} posts; failed {report['failed']}, "
            f"lost {self.lost}, counted twice {self.twice}"
        )
        for failure in report["failures"]:
            say(f"  {failure}")


@contextmanager
def load(keys: dict[str, str], pause_seconds: float = 0.2) -> Iterator[Load]:
    """Have nine clients at work while the body runs; afterwards what they saw and what is stored."""
    environment = {"GATEWAY": GATEWAY, "INGEST": INGEST, "KEY": keys["frontend"], "PAUSE_SECONDS": str(pause_seconds)}
    start_pod("load", SLIM, (PODS / "load.py").read_text(), namespace=STRANGERS, environment=environment)
    kubectl("wait", "pod/load", "--for=condition=Ready", "--timeout=120s", namespace=STRANGERS)
    seen = Load()
    try:
        yield seen
    finally:
        kubectl("exec", "load", "--", "touch", "/tmp/stop", namespace=STRANGERS)
    seen.report = json.loads(finish_pod("load", namespace=STRANGERS).strip().splitlines()[-1])
    seen.stored = count_stored({name: seen.report[name] for name in ("answered", "accepted")})


def count_stored(ids: dict[str, list[str]]) -> dict[str, int]:
    """Count what is in the tables, once all of it is there or two minutes have passed."""
    script = (PODS / "count_stored.py").read_text()
    with TemporaryDirectory() as folder:
        (given := Path(folder) / "ids.json").write_text(json.dumps(ids))
        told = kubectl("exec", "-i", f"deploy/{RELEASE}-curator", "--", "python", "-c", script, source=given)
    return dict(json.loads(told))
