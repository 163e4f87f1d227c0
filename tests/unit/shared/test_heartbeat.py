"""A claim kept by heartbeat, without a database."""

import threading

import pytest

from shared.errors import StaleClaim
from shared.heartbeat import Heartbeat


def wait_for(event: threading.Event) -> None:
    assert event.wait(5.0)


def test_a_thread_saves_a_sign_of_life_again_and_again() -> None:
    signs, enough = [0], threading.Event()

    def save() -> bool:
        signs[0] += 1
        if signs[0] == 3:
            enough.set()
        return True

    with Heartbeat(save, "run 7", interval_seconds=0.01, timeout_seconds=60.0) as claim:
        wait_for(enough)
        claim.check()


def test_a_database_that_is_away_loses_no_claim() -> None:
    failures, enough = [0], threading.Event()

    def fail() -> bool:
        failures[0] += 1
        if failures[0] == 3:
            enough.set()
        raise ConnectionError("the database is away")

    with Heartbeat(fail, "run 7", interval_seconds=0.01, timeout_seconds=60.0) as claim:
        wait_for(enough)
        claim.check()


def test_a_claim_that_somebody_else_took_is_lost() -> None:
    asked = threading.Event()

    def save() -> bool:
        asked.set()
        return False

    with Heartbeat(save, "run 7", interval_seconds=0.01, timeout_seconds=60.0) as claim:
        wait_for(asked)
        with pytest.raises(StaleClaim, match="run 7"):
            claim.beat()
    with pytest.raises(StaleClaim):
        claim.check()


def test_after_a_silence_the_holder_asks_before_it_goes_on() -> None:
    claim = Heartbeat(lambda: False, "run 7", interval_seconds=60.0, timeout_seconds=0.0)
    threading.Event().wait(0.01)
    with pytest.raises(StaleClaim):
        claim.check()


def test_an_ended_claim_is_not_lost_to_its_own_end() -> None:
    claim = Heartbeat(lambda: False, "run 7", interval_seconds=60.0, timeout_seconds=60.0)
    claim.end()
    claim.beat()
