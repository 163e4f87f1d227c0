"""Feedback goes on while what it passes through is killed, and what was acknowledged is there at the end."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

from local.stack.stack import Stack
from tests.faults.callers import Caller, call_while
from tests.faults.saboteur import NotInTime, Saboteur, wait_until
from tests.faults.tables import Reconciliation, Tables, list_curated_answers, list_curated_events, reconcile

CURATED_SINCE = "SELECT count(*) > 0 FROM curator.feedback WHERE received_at > %(since)s"


def wait_until_curated_again(tables: Tables) -> None:
    """Until an event that was received from now on is in the curator's tables."""
    since = datetime.now(UTC)
    wait_until(lambda: tables.holds(CURATED_SINCE, since=since), "new events are curated", 90)


def settle(tables: Tables, caller: Caller, is_settled: Callable[[Reconciliation], bool]) -> Reconciliation:
    """The tables against what was acknowledged, once they are as they should be, or do not become so."""

    def look() -> Reconciliation:
        return reconcile(tables, events=caller.events, answers=caller.answers, sent=caller.sent, since=caller.started)

    with suppress(NotInTime):
        wait_until(lambda: is_settled(look()), "what was acknowledged is curated", 60)
    return look()


def test_nothing_acknowledged_is_lost_when_ingest_curator_and_postgres_are_killed_in_turn(data_path: Stack):
    saboteur, tables = Saboteur(data_path), Tables(data_path.connections.database_url)

    def harm(caller: Caller) -> None:
        wait_until_curated_again(tables)
        for name in ("postgres", "ingest", "curator"):
            dead = saboteur.kill(name)
            saboteur.wait_until_ready(name, other_than=dead)
            wait_until_curated_again(tables)

    caller = call_while(data_path, harm)
    found = settle(tables, caller, lambda found: found.is_clean)
    assert caller.apis.sent_again["ingest"], "the front end noticed nothing: nothing was killed while it was at work"
    assert found.is_clean, found


def test_a_killed_broker_takes_with_it_only_what_was_not_curated_yet(data_path: Stack):
    saboteur, tables = Saboteur(data_path), Tables(data_path.connections.database_url)
    sent: set[UUID] = set()
    curated: set[UUID] = set()

    def harm(caller: Caller) -> None:
        wait_until_curated_again(tables)
        with saboteur.stopped("curator"):
            time.sleep(1.0)
            curated.update(list_curated_events(tables) | list_curated_answers(tables))
            dead = saboteur.kill("broker")
            sent.update(caller.sent)
        saboteur.wait_until_ready("broker", other_than=dead)
        wait_until_curated_again(tables)

    caller = call_while(data_path, harm)
    found = settle(tables, caller, lambda found: found.lost_events | found.lost_answers <= sent - curated)
    assert found.lost_events, "the broker held nothing: the test shows nothing"
    assert found.lost_events | found.lost_answers <= sent - curated
    assert not found.counted_twice
