"""The deployer against a real Postgres and a real model server on a socket, with the registry in memory."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from msgspec import to_builtins
from sqlalchemy import create_engine, text, update
from sqlalchemy.orm import Session, sessionmaker

from services.deployer.adapters.model_server import ModelServer
from services.deployer.api import create_router
from services.deployer.handlers.adoption import Adoption
from services.deployer.handlers.change import Rollouts
from services.deployer.handlers.commands import Commands
from services.deployer.handlers.events import EventHandler
from services.deployer.handlers.ticks import Ticker
from services.deployer.handlers.upkeep import Upkeep
from services.deployer.settings import DeployerSettings
from shared.auth import KeyRing, create_key, load_keys
from shared.bus import decode, encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters
from shared.events import (
    EvaluationCompleted,
    FeedbackReceived,
    GateResult,
    InteractionRecorded,
    RolloutAdvanced,
    Route,
    Thumb,
)
from shared.http import create_app
from shared.ids import new_id
from shared.outbox import Relay
from shared.registry.memory import MemoryRegistry
from shared.tables.curator import Dataset, RetrainRequestRow, RoutingRow
from shared.tables.deployer import Outbox
from shared.tables.trainer import Run

HASHES = {"weights_sha256": "w" * 64, "dataset_sha256": "d" * 64, "recipe_sha256": "r" * 64}


@dataclass
class Clock:
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def model_server() -> Iterator[tuple[str, list[str]]]:
    """A server that speaks enough of the OpenAI protocol to load a model, and remembers which it was asked for."""
    app, asked = FastAPI(), []

    @app.post("/v1/chat/completions")
    def complete(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body["model"])
        assert "temperature" not in body
        return {"choices": [{"message": {"content": "Hi"}}]}

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}/v1", asked
    server.should_exit = True
    thread.join()


class Setup:
    """A deployer with its champion, and the ways that the world reaches it."""

    def __init__(self, database_url: str, artifacts: Path, server: str) -> None:
        self.engine = create_engine(database_url)
        self.sessions: sessionmaker[Session] = sessionmaker(self.engine, expire_on_commit=False)
        self.clock = Clock()
        self.registry = MemoryRegistry(artifacts)
        self.registry.register("base", None, {"served_model": "/models/1"})
        self.registry.register("candidate", None, {"served_model": "/models/2", **HASHES})
        settings = DeployerSettings(
            stages=[25, 50, 100], minimum_stage_seconds=10, minimum_stage_votes=3, holdback_percent=10
        )
        self.rollouts = Rollouts(settings, "heliotrope", "", ["http://127.0.0.1:1/v1", server])
        self.loader = ModelServer(deadline_seconds=10)
        self.ticker = Ticker(self.sessions, self.rollouts, self.registry, self.loader, self.clock)
        self.upkeep = Upkeep(self.sessions, self.rollouts, self.registry, self.clock)
        self.commands = Commands(self.sessions, self.rollouts, self.registry, self.clock)
        self.broker = MemoryBroker()
        self.loop = ConsumerLoop(
            "deployer",
            MemoryConsumer(self.broker, [], None),
            EventHandler(self.rollouts, self.clock),
            self.sessions,
            DeadLetters(MemoryProducer(self.broker), "deployer"),
        )
        route = Route(version="1", model="/models/1", base_url="http://127.0.0.1:1/v1")
        self.commands.adopt(route, actor="test")
        app = create_app("deployer", checks={})
        app.include_router(create_router(self.commands, self.sessions))
        keys = KeyRing(lambda: load_keys(self.sessions))
        app.state.keys = keys
        with self.sessions() as session, session.begin():
            self.keys = {
                role: create_key(session, f"{role}-anna", role) for role in ("admin", "ops", "frontend", "internal")
            }
        keys.refresh()
        self.client = TestClient(app)

    def close(self) -> None:
        self.loader.close()
        self.engine.dispose()

    def hear(self, *events: Any) -> None:
        self.loop.handle_batch([encode(event, source="test") for event in events])

    def call(self, method: str, path: str, *, role: str = "admin", body: Any = None) -> Any:
        return self.client.request(method, path, json=body, headers={"authorization": f"Bearer {self.keys[role]}"})

    def open_rollout(
        self, verdict: str = "pass", *, candidate_version: str = "2", champion_version: str = "1"
    ) -> dict[str, Any]:
        run_id = new_id()
        with self.sessions() as session, session.begin():
            session.add(
                Run(
                    run_id=run_id,
                    request_id=(request_id := new_id()),
                    dataset_uri="/datasets/d",
                    parent_version="1",
                    recipe={},
                    state="succeeded",
                    deadline_at=self.clock(),
                    **HASHES,
                )
            )
        event = EvaluationCompleted(
            request_id=request_id,
            evaluation_id=new_id(),
            run_id=run_id,
            candidate_version=candidate_version,
            champion_version=champion_version,
            verdict=verdict,  # type: ignore[arg-type]
            gates=[GateResult(name="win_rate", verdict=verdict, summary="71% (60% to 80%)")],  # type: ignore[arg-type]
            report_sha256="p" * 64,
            completed_at=self.clock(),
        )
        self.hear(event, event)
        rollouts = self.call("GET", "/v1/rollouts", role="ops").json()["rollouts"]
        [rollout] = [rollout for rollout in rollouts if rollout["request_id"] == str(request_id)]
        return dict(rollout)

    def approve(self, rollout: dict[str, Any], **body: Any) -> Any:
        path = f"/v1/rollouts/{rollout['rollout_id']}/approve"
        return self.call("POST", path, body={"approval_hash": rollout["approval_hash"]} | body)

    def load(self, rollout: dict[str, Any]) -> dict[str, Any]:
        return dict(self.call("GET", f"/v1/rollouts/{rollout['rollout_id']}", role="ops").json())

    def start_canary(self) -> dict[str, Any]:
        rollout = self.open_rollout()
        assert self.approve(rollout).status_code == 200
        self.ticker.tick()
        return self.load(rollout)

    def vote(
        self, rollout: dict[str, Any], *, canary: bool, up: bool, user: str, late: bool = False, **changes: Any
    ) -> None:
        version = "2" if canary else "1"
        fields: dict[str, Any] = {
            "interaction_id": new_id(),
            "messages": [],
            "answer": "Open Orders.",
            "model_version": version,
            "intended_version": version,
            "served_at": self.clock(),
            "key_id": "k",
            "user": user,
            "rollout_id": UUID(rollout["rollout_id"]),
        }
        answer = InteractionRecorded(**fields | changes)
        thumb = FeedbackReceived(
            event_id=new_id(),
            interaction_id=answer.interaction_id,
            feedback=Thumb(value="up" if up else "down"),
            received_at=self.clock(),
            key_id="k",
            user=user,
        )
        for event in (thumb, answer) if late else (answer, thumb):
            self.hear(event, event)

    def announced(self) -> list[RolloutAdvanced]:
        Relay(self.sessions, Outbox, MemoryProducer(self.broker)).relay_batch()
        return [decode(record) for record in self.broker.records("rollout.advanced")]  # type: ignore[misc]

    def count_votes(self, rollout: dict[str, Any]) -> tuple[int, int]:
        self.ticker.tick()
        evidence = self.load(rollout)["evidence"]
        return evidence["champion"]["votes"], evidence["canary"]["votes"]


@pytest.fixture
def setup(database_url: str, tmp_path: Path, model_server: tuple[str, list[str]]) -> Iterator[Setup]:
    setup = Setup(database_url, tmp_path, model_server[0])
    yield setup
    setup.close()


def test_a_passed_candidate_becomes_champion_through_approval_and_stages(setup: Setup, model_server: Any):
    rollout = setup.start_canary()
    assert (rollout["state"], rollout["stage"]) == ("canary", 0)
    assert model_server[1][-1] == "/models/2"
    for stage in range(3):
        for number in range(40):
            user = f"{stage}-{number}"
            canary = number % 2 == 0
            setup.vote(rollout, canary=canary, up=number % 8 == 0 if not canary else number % 8 != 0, user=user)
        setup.clock.pass_seconds(11)
        setup.ticker.tick()
    rollout = setup.load(rollout)
    assert rollout["state"] == "champion"
    assert [stage["percent"] for stage in rollout["stages"]] == [25, 50, 100]
    assert all(stage["ended_by"] == "advance" for stage in rollout["stages"])
    table = setup.call("GET", "/v1/routing", role="internal").json()
    assert table["champion"]["version"] == "2"
    assert (table["holdback"]["version"], table["holdback_percent"]) == ("1", 10)
    assert [event.routing.generation for event in setup.announced()][-4:] == [2, 3, 4, 5]
    setup.upkeep.project_aliases()
    assert setup.registry.load_alias("champion") == "2"
    assert setup.registry.load_alias("challenger") is None


def test_harm_is_rolled_back_and_everyone_is_on_the_champion_again(setup: Setup):
    rollout = setup.start_canary()
    for number in range(60):
        canary = number % 2 == 0
        setup.vote(rollout, canary=canary, up=not canary, user=str(number))
        setup.ticker.tick()
    assert setup.load(rollout)["state"] == "rolled_back"
    table = setup.call("GET", "/v1/routing", role="ops").json()
    assert table["champion"]["version"] == "1"
    assert table.get("canary") is None


def test_an_evaluation_announced_twice_opens_one_rollout(setup: Setup):
    assert setup.open_rollout()["state"] == "awaiting_approval"


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_a_candidate_that_did_not_pass_is_rejected_with_its_reasons(setup: Setup, verdict: str):
    rollout = setup.open_rollout(verdict)
    assert rollout["state"] == "rejected"
    assert "win_rate" in rollout["summary"]
    assert setup.approve(rollout).status_code == 409


def test_an_approval_of_something_else_is_void(setup: Setup):
    rollout = setup.open_rollout()
    assert setup.approve(rollout, approval_hash="0" * 64).status_code == 409
    assert setup.load(rollout)["state"] == "awaiting_approval"


def test_an_approval_is_void_when_the_weights_changed_in_the_registry(setup: Setup):
    rollout = setup.open_rollout()
    setup.registry.load_version("2").tags["weights_sha256"] = "x" * 64  # type: ignore[index]
    response = setup.approve(rollout)
    assert response.status_code == 409
    assert "changed" in response.json()["detail"]


def test_one_user_has_one_vote_and_the_first_that_was_heard_stands(setup: Setup):
    rollout = setup.start_canary()
    setup.vote(rollout, canary=True, up=True, user="anna")
    setup.vote(rollout, canary=True, up=False, user="anna")
    setup.vote(rollout, canary=False, up=False, user="anna")
    assert setup.count_votes(rollout) == (0, 1)


def test_a_thumb_that_comes_before_its_answer_counts_once_the_answer_is_known(setup: Setup):
    rollout = setup.start_canary()
    setup.vote(rollout, canary=True, up=True, user="anna", late=True)
    setup.vote(rollout, canary=False, up=True, user="bert", late=True)
    assert setup.count_votes(rollout) == (1, 1)


@pytest.mark.parametrize(
    "changes",
    [{"user": None}, {"error": "timeout"}, {"intended_version": "1"}, {"model_version": "7", "intended_version": "7"},
     {"rollout_id": None}],
)  # fmt: skip
def test_what_says_nothing_about_an_arm_is_no_vote(setup: Setup, changes: dict[str, Any]):
    rollout = setup.start_canary()
    vote: dict[str, Any] = {"canary": True, "up": True, "user": "anna"}
    setup.vote(rollout, **vote | changes)
    assert setup.count_votes(rollout) == (0, 0)


def test_the_breaker_rolls_back_a_canary_that_fails(setup: Setup):
    rollout = setup.start_canary()
    for number in range(6):
        failed: dict[str, Any] = {"error": "upstream_timeout", "model_version": "1", "intended_version": "2"}
        setup.vote(rollout, canary=True, up=True, user=str(number), **failed)
    setup.ticker.tick()
    rollout = setup.load(rollout)
    assert rollout["state"] == "rolled_back"
    assert "6 of the last 6" in rollout["summary"]


@pytest.mark.parametrize("error", ["client_disconnected", "status_422"])
def test_what_clients_do_wrong_trips_no_breaker(setup: Setup, error: str):
    rollout = setup.start_canary()
    for number in range(6):
        setup.vote(rollout, canary=True, up=True, user=str(number), error=error)
    setup.ticker.tick()
    assert setup.load(rollout)["state"] == "canary"


def test_a_paused_rollout_holds_its_stage_and_says_who_paused_it(setup: Setup):
    rollout = setup.start_canary()
    path = f"/v1/rollouts/{rollout['rollout_id']}"
    assert setup.call("POST", f"{path}/pause", body={"reason": "holiday"}).json()["state"] == "paused"
    setup.clock.pass_seconds(100)
    setup.ticker.tick()
    assert setup.load(rollout)["stage"] == 0
    assert setup.call("POST", f"{path}/resume", body={"reason": "back"}).json()["state"] == "canary"
    log = setup.call("GET", "/v1/audit", role="ops").json()
    assert (log["verified"], log["broken_at"]) == (True, None)
    assert [(line["actor"], line["action"]) for line in log["entries"]][-2:] == [
        ("admin-anna", "pause"),
        ("admin-anna", "resume"),
    ]


def test_an_abort_in_the_canary_puts_everyone_back(setup: Setup):
    rollout = setup.start_canary()
    response = setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/abort", body={"reason": "odd answers"})
    assert response.json()["state"] == "aborted"
    assert setup.call("GET", "/v1/routing", role="ops").json().get("canary") is None


def test_a_promoted_candidate_can_be_taken_back(setup: Setup):
    rollout = setup.start_canary()
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    response = setup.call("POST", "/v1/rollback", body={"reason": "second thoughts"})
    assert response.json()["champion"]["version"] == "1"
    assert setup.load(rollout)["state"] == "rolled_back"
    assert setup.call("POST", "/v1/rollback", body={"reason": "again"}).status_code == 409


def test_a_model_that_cannot_be_loaded_ends_in_an_abort(setup: Setup):
    setup.rollouts.servers[:] = ["http://127.0.0.1:1/v1"]
    rollout = setup.open_rollout()
    assert setup.approve(rollout).status_code == 200
    setup.ticker.tick()
    assert setup.load(rollout)["stage"] is None
    setup.clock.pass_seconds(301)
    setup.ticker.tick()
    assert setup.load(rollout)["state"] == "aborted"


def test_a_rollout_that_was_approved_before_a_rollback_does_not_start_after_it(setup: Setup):
    promoted = setup.start_canary()
    setup.call("POST", f"/v1/rollouts/{promoted['rollout_id']}/promote", body={"reason": "sure"})
    setup.registry.register("third", None, {"served_model": "/models/3", **HASHES})
    waiting = setup.open_rollout(candidate_version="3", champion_version="2")
    assert setup.approve(waiting).status_code == 200
    assert setup.call("POST", "/v1/rollback", body={"reason": "odd answers"}).status_code == 200
    setup.ticker.tick()
    assert setup.load(waiting)["state"] == "aborted"
    assert setup.call("GET", "/v1/routing").json()["champion"]["version"] == "1"


def test_only_one_rollout_has_the_canary(setup: Setup):
    setup.start_canary()
    second = setup.open_rollout()
    response = setup.approve(second)
    assert response.status_code == 409
    assert "has the canary" in response.json()["detail"]
    assert setup.load(second)["state"] == "awaiting_approval"


def test_a_candidate_judged_against_a_former_champion_cannot_be_approved(setup: Setup):
    first = setup.start_canary()
    second = setup.open_rollout()
    setup.call("POST", f"/v1/rollouts/{first['rollout_id']}/promote", body={"reason": "sure"})
    response = setup.approve(second)
    assert response.status_code == 409
    assert "2 is champion now" in response.json()["detail"]


def test_the_holdback_goes_on_voting_after_the_promotion(setup: Setup):
    rollout = setup.start_canary()
    setup.vote(rollout, canary=True, up=True, user="anna")
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    assert setup.call("GET", "/v1/routing").json()["rollout_id"] == rollout["rollout_id"]
    for number in range(4):
        setup.vote(rollout, canary=number > 0, up=number > 1, user=f"late-{number}")
    setup.upkeep.measure_holdback()
    assert setup.load(rollout)["evidence"]["since_promotion"] == {
        "champion": {"votes": 3, "ups": 2},
        "holdback": {"votes": 1, "ups": 0},
    }


def test_a_vote_that_commits_late_under_an_earlier_number_is_weighed_all_the_same(setup: Setup):
    rollout = setup.start_canary()
    with setup.sessions() as slow, slow.begin():
        slow.execute(text("SELECT nextval(pg_get_serial_sequence('deployer.votes', 'sequence'))"))
    setup.vote(rollout, canary=True, up=True, user="anna")
    assert setup.count_votes(rollout) == (0, 1)
    with setup.sessions() as slow, slow.begin():
        slow.execute(
            text(
                'INSERT INTO deployer.votes (sequence, rollout_id, "user", arm, up, stage, event_id, at)'
                " OVERRIDING SYSTEM VALUE"
                " SELECT 1, rollout_id, 'bert', 'champion', up, stage, event_id, at FROM deployer.votes"
            )
        )
    assert setup.count_votes(rollout) == (1, 1)


def test_what_the_curator_did_not_hear_is_announced_again_until_it_did(setup: Setup):
    rollout = setup.open_rollout("fail")
    with setup.sessions() as session, session.begin():
        session.add(
            RetrainRequestRow(
                request_id=UUID(rollout["request_id"]),
                dataset_sha256=HASHES["dataset_sha256"],
                parent_version="1",
                reasons=[],
                state="open",
                requested_at=setup.clock(),
                deadline_at=setup.clock(),
                announced_at=setup.clock(),
            )
        )
    before = setup.announced()
    setup.upkeep.announce_again()
    assert setup.announced() == before
    setup.clock.pass_seconds(31)
    setup.upkeep.announce_again()
    setup.upkeep.announce_again()
    again = setup.announced()[len(before) :]
    assert sorted(event.state for event in again) == ["adopted", "rejected"]
    assert all(event in before for event in again if event.state == "rejected")
    with setup.sessions() as session, session.begin():
        session.execute(update(RetrainRequestRow).values(state="closed"))
        table = again[0].routing
        session.add(
            RoutingRow(
                family="heliotrope", generation=1, champion_version="1", champion_since=setup.clock(),
                table=to_builtins(table),
            )
        )  # fmt: skip
    setup.upkeep.announce_again()
    assert len(setup.announced()) == len(before) + 2


def test_adopting_once_registers_once_and_again_changes_nothing(setup: Setup, tmp_path: Path):
    folder = tmp_path / "base model"
    folder.mkdir()
    rollouts = Rollouts(setup.rollouts.settings, "another", "", setup.rollouts.servers)
    commands = Commands(setup.sessions, rollouts, setup.registry, setup.clock)
    adoption = Adoption(commands, lambda folder: "a" * 64, "http://127.0.0.1:1/v1")
    assert adoption.adopt(str(folder), "base") == "version 3 (base) is the champion"
    assert setup.registry.load_alias("champion") == "3"
    assert adoption.adopt(str(folder), "base") == "version 3 is champion already; nothing changed"
    elsewhere = Commands(setup.sessions, Rollouts(rollouts.settings, "third", "", []), setup.registry, setup.clock)
    assert "version 3" in Adoption(elsewhere, lambda folder: "a" * 64, "http://127.0.0.1:1/v1").adopt(str(folder), None)
    assert len(setup.registry.list_versions()) == 3
    with setup.sessions() as session:
        route = rollouts.load_table(session).champion
    assert (route.model, route.version) == (str(folder), "3")


def erase_dataset(setup: Setup) -> None:
    with setup.sessions() as session, session.begin():
        session.add(Dataset(dataset_sha256=HASHES["dataset_sha256"], uri="", manifest={}, erased_at=setup.clock()))


def test_a_candidate_trained_on_someone_since_erased_is_not_approved_and_is_aborted(setup: Setup):
    rollout = setup.open_rollout()
    erase_dataset(setup)
    answer = setup.approve(rollout)
    assert answer.status_code == 409
    assert answer.json()["title"] == "Candidate trained on an erased user"
    setup.ticker.tick()
    assert setup.load(rollout)["state"] == "aborted"


def test_a_canary_trained_on_someone_since_erased_is_not_promoted_and_leaves(setup: Setup):
    rollout = setup.start_canary()
    erase_dataset(setup)
    path = f"/v1/rollouts/{rollout['rollout_id']}/promote"
    assert setup.call("POST", path, body={"reason": "it looks fine"}).status_code == 409
    setup.ticker.tick()
    assert setup.load(rollout)["state"] == "aborted"
    assert setup.call("GET", "/v1/routing", role="ops").json().get("canary") is None


def test_nobody_approves_in_time_and_it_is_rejected(setup: Setup):
    rollout = setup.open_rollout()
    setup.clock.pass_seconds(8 * 86_400)
    setup.ticker.tick()
    assert setup.load(rollout)["state"] == "rejected"


@pytest.mark.parametrize(
    ("method", "path", "role", "status"),
    [
        ("GET", "/v1/rollouts", "frontend", 403),
        ("GET", "/v1/routing", "frontend", 403),
        ("GET", "/v1/routing", "internal", 200),
        ("GET", "/v1/audit", "internal", 403),
        ("POST", "/v1/rollback", "ops", 403),
        ("GET", f"/v1/rollouts/{new_id()}", "ops", 404),
        ("POST", f"/v1/rollouts/{new_id()}/pause", "admin", 404),
        ("POST", f"/v1/rollouts/{new_id()}/explode", "admin", 422),
    ],
)
def test_roles_and_unknown_rollouts(setup: Setup, method: str, path: str, role: str, status: int):
    body = {"reason": "test"} if method == "POST" else None
    assert setup.call(method, path, role=role, body=body).status_code == status


@pytest.mark.parametrize("reason", ["", "\x00", "two\nlines", 7, None])
def test_a_reason_that_the_audit_log_cannot_hold_is_refused(setup: Setup, reason: Any):
    response = setup.call("POST", "/v1/rollback", body={"reason": reason})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "reason"


def test_a_command_without_a_reason_names_the_field(setup: Setup):
    response = setup.call("POST", "/v1/rollback", body={})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "reason"


def test_the_console_is_one_page_without_data_or_foreign_resources(setup: Setup):
    response = setup.client.get("/")
    assert response.status_code == 200
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "innerHTML =" not in response.text
    assert "http://" not in response.text
