"""Each process killed at each step of a rollout: never two champions, never half a flip, no lost rollback."""

import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.deployer.domain.audit import verify_chain
from services.deployer.repository.audit import iterate_audit
from tests.faults.saboteur import Saboteur, wait_until
from tests.integration.canary.test_canary import is_closed
from tests.integration.canary.town import Town, pleased

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's
]

VICTIMS = ("deployer", "gateway", "postgres", "broker", "model server")
STATE = "SELECT state, stage FROM deployer.rollouts WHERE rollout_id = :id"
TABLES = 'SELECT generation, "table" FROM deployer.routing ORDER BY generation'
AWAY_SECONDS = 1.0


@dataclass(frozen=True)
class Step:
    """When the kill comes: as soon as a rollout's row says this, or while an admin's command is under way."""

    name: str
    row: tuple[str, int | None] | None = None
    command: str = ""
    is_harmful: bool = False


STEPS = (
    Step("while it is approved", command="approve"),
    Step("as the first stage begins", row=("canary", 0)),
    Step("as a stage advances", row=("canary", 1)),
    Step("while an admin promotes it", command="promote"),
    Step("as it becomes champion", row=("champion", None)),
    Step("as it is rolled back", row=("rolled_back", None), is_harmful=True),
    Step("while an admin rolls back", command="rollback"),
)


@dataclass
class Harm:
    """Kills the victim once, at its step."""

    town: Town
    victim: str
    step: Step
    rollout: dict[str, Any]
    two_canaries: bool = False
    done: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look at the row often, and strike as it says what the step waits for; afterwards go on looking."""
        while not self.over.is_set():
            with suppress(DBAPIError), self.town.engine.connect() as connection:
                row = connection.execute(text(STATE), {"id": self.rollout["rollout_id"]}).one()
                canaries = "SELECT count(*) FROM deployer.rollouts WHERE state = 'canary' OR paused_from = 'canary'"
                self.two_canaries |= bool(connection.execute(text(canaries)).scalar_one() > 1)
                if tuple(row) == self.step.row and not self.done.is_set():
                    self.strike()
            time.sleep(0.01)

    def strike(self) -> None:
        if self.victim == "model server":
            self.town.models.stop()
            time.sleep(AWAY_SECONDS)
            self.town.models.start()
        else:
            saboteur = Saboteur(self.town.stack)
            dead = saboteur.kill(self.victim)
            saboteur.wait_until_ready(self.victim, other_than=dead)
        self.done.set()

    def strike_during(self, act: Callable[[], Any]) -> Any:
        """Act, and strike at the same time; the act is repeated until it was answered."""
        with suppress(Exception):
            self.town.call("GET", "/v1/routing")  # a connection that is open already
        answers: list[Any] = []
        acting = threading.Thread(target=lambda: answers.append(act()))
        acting.start()
        time.sleep(0.02)
        self.strike()
        acting.join()
        return answers[0]


@pytest.mark.parametrize(
    ("victim", "step"), list(itertools.product(VICTIMS, STEPS)), ids=lambda each: getattr(each, "name", each)
)
def test_a_rollout_survives_a_kill(town: Town, victim: str, step: Step):
    champion, rollout = town.champion, town.open()
    candidate = rollout["candidate_version"]
    harm = Harm(town, victim, step, rollout)
    watching = threading.Thread(target=harm.watch)
    watching.start()
    rates = {champion: 0.9, candidate: 0.05} if step.is_harmful else {champion: 0.3, candidate: 0.97}
    try:
        with town.users(pleased(rates), pause=0.05):
            ended = drive(town, rollout, harm)
    finally:
        harm.over.set()
        watching.join()
    expected = "rolled_back" if step.is_harmful or step.command == "rollback" else "champion"
    assert ended["state"] == expected, ended["summary"]
    assert not harm.two_canaries
    check_flips(town)
    check_served(town, champion if expected == "rolled_back" else candidate, candidate)
    with Session(town.engine) as session:
        assert verify_chain(iterate_audit(session), key=town.stack.secrets.audit_key).broken_at is None


def drive(town: Town, rollout: dict[str, Any], harm: Harm) -> dict[str, Any]:
    """Take a rollout to its end, through the harm."""
    command, path = harm.step.command, f"/v1/rollouts/{rollout['rollout_id']}"
    if command == "approve":
        harm.strike_during(lambda: town.approve(rollout))
        if town.load(rollout)["state"] == "awaiting_approval":  # it had not been heard
            assert town.approve(rollout).status_code == 200
    else:
        assert town.approve(rollout).status_code == 200
    if command == "promote":
        town.wait(rollout, lambda found: found["stage"] is not None)
        harm.strike_during(lambda: town.call("POST", f"{path}/promote", {"reason": "sure"}))
    ended = town.wait(rollout, is_closed, 120)
    if command == "rollback":
        wanted = {"reason": "odd", "version": rollout["champion_version"]}  # or, asked twice, it goes back twice
        harm.strike_during(lambda: town.call("POST", "/v1/rollback", wanted))
        ended = town.wait(rollout, lambda found: found["state"] == "rolled_back", 30)
    assert harm.done.wait(90), "nothing was killed"
    return ended


def check_flips(town: Town) -> None:
    """Hold every routing table against those before: no generation is missing, a champion changes whole.

    A new champion was the canary, whole as it was; or it is one of before, whom a rollback brings back to everybody.
    """
    with town.engine.connect() as connection:
        rows = connection.execute(text(TABLES)).all()
    assert [generation for generation, _ in rows] == list(range(1, len(rows) + 1))
    former: list[Any] = [rows[0][1]["champion"]]
    for (_, before), (_, after) in itertools.pairwise(rows):
        is_restored = after["champion"] in former and after.get("canary") is None and after.get("holdback") is None
        assert after["champion"] in (before["champion"], before.get("canary")) or is_restored, (before, after)
        assert after.get("canary") != after["champion"]
        former.append(after["champion"])


def check_served(town: Town, champion: str, candidate: str) -> None:
    """Ask until the gateway serves by the table in force, and nobody the candidate that was rolled back."""
    assert town.champion == champion
    gone = champion != candidate

    def is_settled() -> bool:
        with town.users(lambda *_: None) as served:
            time.sleep(0.6)
        versions = {version for _, version in served.answers}
        return champion in versions and not (gone and candidate in versions)

    wait_until(is_settled, "the gateway serves by the table in force", 20)
