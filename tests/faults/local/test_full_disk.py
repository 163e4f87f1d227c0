"""The disk of the state folder fills up while feedback comes in, and has room again later."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cli.status import read_status
from local.stack.stack import Stack
from tests.faults.callers import Caller, call_while
from tests.faults.saboteur import wait_until
from tests.faults.tables import Tables, list_curated_events, reconcile


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Every byte that is left is taken by somebody else's file."""
    ballast = folder / "somebody-elses-file"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
    try:
        yield
    finally:
        ballast.unlink()


def test_what_is_acknowledged_on_a_full_disk_is_there_when_it_has_room_again(data_path: Stack):
    small_disk = data_path.layout.home.parent
    if not small_disk.is_mount():
        pytest.skip("a small file system cannot be mounted here")
    tables, curator_log = Tables(data_path.connections.database_url), data_path.layout.log("curator")
    told: list[str] = []

    def harm(caller: Caller) -> None:
        wait_until(lambda: bool(list_curated_events(tables, caller.started)), "events are curated", 60)
        with filled(small_disk):
            wait_until(lambda: "No space left on device" in curator_log.read_text(), "the curator says why", 60)
            told.extend(read_status(data_path)["problems"])
            time.sleep(1)
        since = len(caller.events)
        wait_until(lambda: len(caller.events) > since, "events are accepted", 60)

    caller = call_while(data_path, harm)
    wait_until(lambda: caller.events <= list_curated_events(tables), "all of it is curated", 90)
    found = reconcile(tables, events=caller.events, answers=caller.answers, sent=caller.sent, since=caller.started)
    assert found.is_clean, found
    assert any("disk" in problem and str(data_path.layout.home) in problem for problem in told), told
