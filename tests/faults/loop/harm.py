"""Harms one process after the other while the loop turns, and measures until work goes on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from tests.faults.loop.scene import Scene
from tests.faults.loop.strangers import STRANGERS, Stranger
from tests.faults.loop.victims import VICTIMS, Victim
from tests.faults.saboteur import wait_until
from tests.faults.tables import list_curated_answers, list_curated_events, list_heard_feedback

PHASE_SECONDS = 900.0
READY_SECONDS = 240.0
GOES_ON_SECONDS = 300.0
PAIRS_TO_TRAIN_ON = 140
RUN_OF_REQUEST = "SELECT EXISTS (SELECT FROM trainer.runs)"
REQUEST_ON_THE_BUS = """
    SELECT EXISTS (SELECT FROM curator.retrain_requests) AND NOT EXISTS (SELECT FROM curator.outbox)
"""
ENOUGH_PAIRS = "SELECT count(*) >= %(wanted)s FROM curator.pairs WHERE state = 'active'"


@dataclass
class Outcome:
    """What came of harming one process. Seconds count from the kill, or from the end of the stop."""

    name: str
    phase: str
    proof: str
    harmed_at: datetime
    ready_seconds: float = 0.0
    goes_on_seconds: float = 0.0
    goes_on_at: datetime | None = None
    sent_again: int = 0
    """Requests that the users' front end sent again meanwhile."""
    at_risk: frozenset[UUID] = frozenset()
    """Acknowledged and in the broker's memory only, when that memory went."""


def in_order() -> list[Victim | Stranger]:
    """Strangers come after the processes of their phase."""
    phases = list(dict.fromkeys(victim.phase for victim in VICTIMS))
    return sorted([*VICTIMS, *STRANGERS], key=lambda harm: (phases.index(harm.phase), isinstance(harm, Stranger)))


@dataclass
class Harm:
    """`kills` with SIGKILL; else stops with SIGSTOP for longer than the victim's deadline."""

    scene: Scene
    kills: bool
    say: Callable[[str], None]
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self) -> None:
        """Everything in turn.

        Raises:
            NotInTime: something did not come back.
        """
        for harm in in_order():
            if harm.phase != "users chat" and not self._was_requested:
                self._request_on_a_broker_that_forgets()
            self._wait(partial(self.scene.tables.holds, harm.begins), harm.phase, PHASE_SECONDS)
            if isinstance(harm, Victim):
                self._harm(harm)
            else:
                self._suffer(harm)
        self._harm_supervisor()

    @property
    def _was_requested(self) -> bool:
        return any(outcome.phase == "a request is on its way" for outcome in self.outcomes)

    def _harm(self, victim: Victim) -> None:
        outcome = Outcome(victim.name, victim.phase, victim.proof, datetime.now(UTC))
        saboteur, before = self.scene.saboteur, self._count_sent_again()
        known = self._list_curated() if victim.name == "broker" else set()
        if self.kills:
            dead, outcome.harmed_at = saboteur.kill(victim.name), datetime.now(UTC)
            if victim.name == "broker":
                outcome.at_risk = self._list_at_risk(known)
        else:
            with saboteur.stopped(victim.name):
                time.sleep(victim.stop_seconds)
            dead, outcome.harmed_at = 0, datetime.now(UTC)
        self._measure(outcome, victim.name, dead, lambda: victim.goes_on(self.scene, outcome.harmed_at), before)

    def _suffer(self, stranger: Stranger) -> None:
        """The process is to withstand it, so `ready` begins when the stranger is done."""
        before, outcome = (
            self._count_sent_again(),
            Outcome(stranger.name, stranger.phase, stranger.proof, datetime.now(UTC)),
        )
        stranger.act(self.scene)
        done_at = datetime.now(UTC)
        self._measure(outcome, stranger.process, 0, lambda: stranger.goes_on(self.scene, done_at), before)

    def _measure(self, outcome: Outcome, name: str, dead: int, goes_on: Callable[[], bool], before: int) -> None:
        started = time.monotonic()
        self.outcomes.append(outcome)
        ready = lambda: self.scene.saboteur.is_ready(name, other_than=dead)  # noqa: E731 - one line, used once
        self._wait(ready, f"{name} is ready", READY_SECONDS)
        outcome.ready_seconds = time.monotonic() - started
        self._wait(goes_on, f"after {name}: {outcome.proof}", GOES_ON_SECONDS)
        outcome.goes_on_seconds, outcome.goes_on_at = time.monotonic() - started, datetime.now(UTC)
        outcome.sent_again = self._count_sent_again() - before
        self.say(
            f"{name} ({outcome.phase}): ready after {outcome.ready_seconds:.1f} s,"
            f" work after {outcome.goes_on_seconds:.1f} s, {outcome.sent_again} requests sent again"
        )

    def _request_on_a_broker_that_forgets(self) -> None:
        """A request is announced while nobody reads it, and the broker dies: the sweeper has to announce it again."""
        scene = self.scene
        self._wait(lambda: scene.tables.holds(ENOUGH_PAIRS, wanted=PAIRS_TO_TRAIN_ON), "pairs to train on", 600)
        before = self._count_sent_again()
        with scene.saboteur.stopped("trainer"):
            scene.ask_for_retraining()
            self._wait(lambda: scene.tables.holds(REQUEST_ON_THE_BUS), "the request is on the bus", 60)
            known = self._list_curated()
            dead = scene.saboteur.kill("broker")
        outcome = Outcome("broker", "a request is on its way", "the request has a run", datetime.now(UTC))
        outcome.at_risk = self._list_at_risk(known)
        self._measure(outcome, "broker", dead, lambda: scene.tables.holds(RUN_OF_REQUEST), before)

    def _harm_supervisor(self) -> None:
        """Its children outlive it; an operator's `up` stops them and starts everything again."""
        scene, before = self.scene, self._count_sent_again()
        proof = "after `heliotrope up`, a new chat is answered and a new event is curated"
        if not self.kills:
            with scene.saboteur.stopped("supervisor"):
                time.sleep(12)
            outcome = Outcome("supervisor", "the new champion serves", "a new event is curated", datetime.now(UTC))
            goes_on = lambda: VICTIMS[0].goes_on(scene, outcome.harmed_at)  # noqa: E731
            self._measure(outcome, "ingest", 0, goes_on, before)
            outcome.name = "supervisor"
            return
        known = self._list_curated()
        scene.saboteur.kill("supervisor")
        outcome = Outcome("supervisor", "the new champion serves", proof, datetime.now(UTC))
        scene.stack.up()
        started_again = datetime.now(UTC)
        outcome.at_risk = self._list_at_risk(known)
        self._measure(
            outcome,
            "gateway",
            0,
            lambda: all(victim.goes_on(scene, started_again) for victim in VICTIMS[:2]),
            before,
        )
        outcome.ready_seconds += (started_again - outcome.harmed_at).total_seconds()
        outcome.goes_on_seconds += (started_again - outcome.harmed_at).total_seconds()

    def _list_curated(self) -> set[UUID]:
        """What the broker's death cannot lose: the curator has it, and of thumbs the deployer too."""
        tables = self.scene.tables
        events, heard = list_curated_events(tables), list_heard_feedback(tables)
        unheard = self.scene.list_thumbs() - heard
        return (events - unheard) | list_curated_answers(tables)

    def _list_at_risk(self, known: set[UUID]) -> frozenset[UUID]:
        events, answers = self.scene.list_acknowledged()
        return frozenset((events | answers) - known)

    def _count_sent_again(self) -> int:
        return self.scene.apis.sent_again.total()

    def _wait(self, look: Callable[[], bool], what: str, seconds: float) -> None:
        wait_until(look, what, seconds)
