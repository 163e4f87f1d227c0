"""A deployer on a real Postgres, with the registry and the bus in memory, and the ways that the world reaches it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from services.deployer.adapters.candidate_files import CandidateFiles
from services.deployer.adapters.openai_endpoints import OpenAIEndpoints
from services.deployer.api import create_router
from services.deployer.handlers.binding import Binding
from services.deployer.handlers.change import Rollouts
from services.deployer.handlers.commands import Commands
from services.deployer.handlers.events import EventHandler
from services.deployer.handlers.maintenance import Maintenance
from services.deployer.handlers.reconciler import Reconciler
from services.deployer.settings import DeployerSettings
from shared.accounts import create_account
from shared.artifacts import Artifacts
from shared.artifacts.manifest import calculate_content_sha256, write_manifest
from shared.assertions import issue_assertion
from shared.auth import KeyRing, create_key, load_keys, open_key_ring
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
from shared.registry.provenance import sign_tags
from shared.signing import Signer, Verifier, generate_key
from shared.tables.deployer import Outbox
from shared.tables.trainer import Run
from shared.user_hash_generations import load_user_hashes
from shared.user_hashes import UserHashes

HASHES = {"weights_sha256": "w" * 64, "dataset_sha256": "d" * 64, "recipe_sha256": "r" * 64}

LATER_SECRETS = ("a later secret",)


@dataclass
class Clock:
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Setup:
    """A deployer with its champion, and the ways that the world reaches it."""

    def __init__(self, database_url: str, artifacts: Path, server: str) -> None:
        self.engine = create_engine(database_url)
        self.sessions: sessionmaker[Session] = sessionmaker(self.engine, expire_on_commit=False)
        self.clock = Clock()
        self.registry = MemoryRegistry(artifacts)
        self.signer, self.candidates = Signer(generate_key()), artifacts / "candidates"
        self.registry.register("base", None, {"served_model": "/models/1"})
        self.register_candidate("2")
        settings = DeployerSettings(
            stages=[25, 50, 100],
            minimum_stage_seconds=10,
            minimum_stage_votes=3,
            holdback_percent=10,
            exposure_seconds=0,
            outcome_grace_seconds=0,
        )
        self.rollouts = Rollouts(settings, "heliotrope", "")
        artifact_files = Artifacts(artifacts / "cache", max_cache_bytes=1_000_000)
        self.binding = Binding(self.registry, CandidateFiles(artifact_files, Verifier([self.signer.public_key])))
        self.serving = OpenAIEndpoints(["http://127.0.0.1:1/v1", server], deadline_seconds=10)
        self.reconciler = Reconciler(self.sessions, self.rollouts, self.binding, self.serving, self.clock)
        self.maintenance = Maintenance(self.sessions, self.rollouts, self.registry, self.clock, self.serving)
        self.commands = Commands(self.sessions, self.rollouts, self.binding, self.clock)
        self.broker = MemoryBroker()
        self.loop = ConsumerLoop(
            "deployer",
            MemoryConsumer(self.broker, [], None),
            EventHandler(self.rollouts, self.clock, partial(load_user_hashes, UserHashes("", LATER_SECRETS))),
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

    def configure(self, **changes: Any) -> None:
        """Start the deployer anew with other settings, as far as a handler could notice."""
        settings = DeployerSettings(**{**self.rollouts.settings.model_dump(), **changes})
        object.__setattr__(self.rollouts, "settings", settings)

    def sign_in(self, *names: str, role: str = "admin") -> None:
        """Make accounts and act as them from now on: their names are roles for `call`."""
        key = generate_key()
        signer = Signer(key)
        self.configure(assertion_key=SecretStr(key))
        keys = open_key_ring(self.sessions, [signer.public_key])
        self.client.app.state.keys = keys  # type: ignore[attr-defined]
        for name in names:
            with self.sessions() as session, session.begin():
                account_id = create_account(session, name, role).split("_")[1]
            self.keys[name] = issue_assertion(account_id, role, signer, datetime.now(UTC))
        keys.refresh()

    def close(self) -> None:
        self.serving.close()
        self.engine.dispose()

    def hear(self, *events: Any) -> None:
        self.loop.handle_batch([encode(event, source="test") for event in events])

    def call(self, method: str, path: str, *, role: str = "admin", body: Any = None) -> Any:
        return self.client.request(method, path, json=body, headers={"authorization": f"Bearer {self.keys[role]}"})

    def register_candidate(self, version: str, signer: Signer | None = None) -> Path:
        """Train a candidate, as the worker would: its files, listed and signed for."""
        folder = self.candidates / version
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(f"the weights of {version}".encode())
        content = calculate_content_sha256(write_manifest(folder))
        tags = {"served_model": str(folder), "content_sha256": content, **HASHES}
        self.registry.register("candidate", None, sign_tags(tags, signer or self.signer))
        return folder

    def open_rollout(
        self, verdict: str = "pass", *, candidate_version: str = "2", champion_version: str = "1", **gate: Any
    ) -> dict[str, Any]:
        run_id = new_id()
        tags = self.registry.load_version(candidate_version).tags
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
                    content_sha256=tags.get("content_sha256"),
                    served_model=tags["served_model"],
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
            gates=[GateResult(name="win_rate", verdict=verdict, summary="71% (60% to 80%)", **gate)],  # type: ignore[arg-type]
            report_sha256="p" * 64,
            completed_at=self.clock(),
        )
        self.hear(event, event)
        rollouts = self.call("GET", "/v1/rollouts", role="ops").json()["rollouts"]
        [rollout] = [rollout for rollout in rollouts if rollout["request_id"] == str(request_id)]
        return dict(rollout)

    def approve(self, rollout: dict[str, Any], *, role: str = "admin", **body: Any) -> Any:
        path = f"/v1/rollouts/{rollout['rollout_id']}/approve"
        return self.call("POST", path, role=role, body={"approval_hash": rollout["approval_hash"]} | body)

    def load(self, rollout: dict[str, Any]) -> dict[str, Any]:
        return dict(self.call("GET", f"/v1/rollouts/{rollout['rollout_id']}", role="ops").json())

    def start_canary(self) -> dict[str, Any]:
        rollout = self.open_rollout()
        assert self.approve(rollout).status_code == 200
        self.reconciler.reconcile()
        return self.load(rollout)

    def vote(
        self, rollout: dict[str, Any], *, canary: bool, up: bool, user: str, late: bool = False, **changes: Any
    ) -> FeedbackReceived:
        """Serve an answer in the rollout and give it a thumb, each heard twice."""
        answer, thumb = self.make_vote(rollout, canary=canary, up=up, user=user, **changes)
        for event in (thumb, answer) if late else (answer, thumb):
            self.hear(event, event)
        return thumb

    def make_vote(
        self, rollout: dict[str, Any], *, canary: bool, up: bool, user: str, **changes: Any
    ) -> tuple[InteractionRecorded, FeedbackReceived]:
        answer = self._make_answer(rollout, canary, user, changes)
        thumb = FeedbackReceived(
            event_id=new_id(),
            interaction_id=answer.interaction_id,
            feedback=Thumb(value="up" if up else "down"),
            received_at=self.clock(),
            key_id="k",
            user=user,
        )
        return answer, thumb

    def _make_answer(
        self, rollout: dict[str, Any], canary: bool, user: str, changes: dict[str, Any]
    ) -> InteractionRecorded:
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
        return InteractionRecorded(**fields | changes)

    def announced(self) -> list[RolloutAdvanced]:
        Relay(self.sessions, Outbox, MemoryProducer(self.broker)).relay_batch()
        return [decode(record) for record in self.broker.records("rollout.advanced")]  # type: ignore[misc]

    def count_ups(self, rollout: dict[str, Any]) -> int:
        self.reconciler.reconcile()
        evidence = self.load(rollout)["evidence"]
        return int(evidence["champion"]["ups"] + evidence["canary"]["ups"])

    def count_votes(self, rollout: dict[str, Any]) -> tuple[int, int]:
        self.reconciler.reconcile()
        evidence = self.load(rollout)["evidence"]
        return evidence["champion"]["votes"], evidence["canary"]["votes"]
