"""A running deployer, gateway and ingest on real servers, candidates that are opened for them, and users."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import httpx
from confluent_kafka import Producer
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from local.stack.stack import Stack
from shared.accounts import create_account
from shared.artifacts.manifest import calculate_content_sha256, write_manifest
from shared.bus import encode
from shared.events import EvaluationCompleted, GateResult
from shared.ids import new_id
from shared.registry.mlflow import MlflowRegistry
from shared.registry.provenance import sign_tags
from shared.signing import Signer
from shared.tables.trainer import Run
from tests.integration.canary.models import Behaviour, ModelServer

THREADS = 6
PATIENCE_SECONDS = 20.0
SETTINGS = {
    "HELIOTROPE_DEPLOYER_STAGES": "[25, 50, 100]",
    "HELIOTROPE_DEPLOYER_MINIMUM_STAGE_SECONDS": "1",
    "HELIOTROPE_DEPLOYER_MINIMUM_STAGE_VOTES": "3",
    "HELIOTROPE_DEPLOYER_HOLDBACK_PERCENT": "30",
    "HELIOTROPE_DEPLOYER_EXPOSURE_SECONDS": "2",
    "HELIOTROPE_DEPLOYER_OUTCOME_GRACE_SECONDS": "3",
    "HELIOTROPE_DEPLOYER_TICK_SECONDS": "0.5",
    "HELIOTROPE_DEPLOYER_ANNOUNCE_AGAIN_SECONDS": "5",
    "HELIOTROPE_GATEWAY_ROUTING_POLL_SECONDS": "2",
    "HELIOTROPE_GATEWAY_ROUTING_MAX_AGE_SECONDS": "12",
}
React = Callable[[int, str], str | None]
"""What a user of this number says of an answer of this version: up, down, or nothing."""


@dataclass
class Served:
    """Who was served which version, and when (Unix time)."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    refused: int = 0

    def last_of(self, version: str) -> float | None:
        return max((at for at, served in self.answers if served == version), default=None)


class Town:
    """One deployment; candidates are numbered on, and the champion of one test is that of the next."""

    def __init__(self, stack: Stack, models: ModelServer, home: Path) -> None:
        self.stack, self.models, self.home = stack, models, home
        self.engine = create_engine(stack.connections.database_url, pool_pre_ping=True)
        self.registry = MlflowRegistry(stack.connections.mlflow_tracking_uri, "heliotrope")
        self.producer = Producer({"bootstrap.servers": stack.connections.kafka_bootstrap_servers})
        self.numbers = itertools.count()
        self.people: dict[str, str] = {}
        self.client = httpx.Client(timeout=30, limits=httpx.Limits(max_connections=40))

    def close(self) -> None:
        self.client.close()
        self.engine.dispose()

    # what admins do

    def call(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """Ask the deployer, again while it is away; returns its answer."""
        headers = {"authorization": f"Bearer {key or self.stack.credentials['admin']}"}
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self.client.request(method, f"{self.stack.url('deployer')}{path}", json=body, headers=headers)
                if answer.status_code < 500 or time.monotonic() > until:
                    return answer
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
            time.sleep(0.2)

    def sign_in(self, name: str) -> str:
        """Return a fresh assertion about an admin of this name."""
        if name not in self.people:
            with Session(self.engine) as session, session.begin():
                self.people[name] = create_account(session, name, "admin")
            time.sleep(2.5)  # until every process has read the accounts anew
        return str(self.call("POST", "/v1/assertions", key=self.people[name]).json()["assertion"])

    def load(self, rollout: dict[str, Any]) -> dict[str, Any]:
        return dict(self.call("GET", f"/v1/rollouts/{rollout['rollout_id']}").json())

    @property
    def champion(self) -> str:
        return str(self.call("GET", "/v1/routing").json()["champion"]["version"])

    def approve(self, rollout: dict[str, Any]) -> Any:
        body = {"approval_hash": rollout["approval_hash"]}
        return self.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/approve", body)

    def start(self, behaviour: Behaviour = Behaviour(), **limits: float) -> dict[str, Any]:
        """Open a rollout and approve it; returns it in its first stage. `limits`: other ones than the settings say."""
        rollout = self.begin(behaviour, **limits)
        return self.wait(rollout, lambda found: found["stage"] == 0)

    def begin(self, behaviour: Behaviour = Behaviour(), **limits: float) -> dict[str, Any]:
        """Open a rollout and approve it; returns it as it was when it opened."""
        rollout = self.open(behaviour)
        with self.engine.begin() as connection:
            for name, value in limits.items():
                query = "UPDATE deployer.rollouts SET limits = jsonb_set(limits, :path, :value) WHERE rollout_id = :id"
                told = {"path": f"{{{name}}}", "value": str(value), "id": rollout["rollout_id"]}
                connection.execute(
                    text(query.replace(":path", ":path ::text[]").replace(":value", ":value ::jsonb")), told
                )
        answer = self.approve(rollout)
        assert answer.status_code == 200, answer.text
        return rollout

    def wait(self, rollout: dict[str, Any], is_so: Callable[[Any], bool], seconds: float = 30) -> dict[str, Any]:
        """Return the rollout once it is so."""
        until = time.monotonic() + seconds
        while not is_so(found := self.load(rollout)):
            assert time.monotonic() < until, (found["state"], found["summary"], found["evidence"].get("summary"))
            time.sleep(0.2)
        return found

    # what trainer and evaluator do

    def open(self, behaviour: Behaviour = Behaviour(), **gate: Any) -> dict[str, Any]:
        """Train and judge a candidate that behaves so; returns its rollout, which awaits an approval."""
        folder = self.home / f"candidate-{next(self.numbers)}-{uuid4().hex[:6]}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(folder.name.encode())
        content = calculate_content_sha256(write_manifest(folder))
        self.models.behaviours[str(folder)] = behaviour
        hashes = {"weights_sha256": content, "dataset_sha256": "d" * 64, "recipe_sha256": "r" * 64}
        tags = {"served_model": str(folder), "content_sha256": content, **hashes}
        signer = Signer(self.stack.secrets.trainer_manifest_key)
        version = self.registry.register(str(folder), None, sign_tags(tags, signer)).version
        run_id, request_id = self._save_run(content, str(folder), hashes)
        event = EvaluationCompleted(
            request_id=request_id,
            evaluation_id=new_id(),
            run_id=run_id,
            candidate_version=version,
            champion_version=self.champion,
            verdict="pass",
            gates=[GateResult(name="win_rate", verdict="pass", summary="71%", **gate)],
            report_sha256="p" * 64,
            completed_at=datetime.now(UTC),
        )
        record = encode(event, source="evaluator")
        self.producer.produce(record.topic, record.value, record.key, headers=list(record.headers.items()))
        assert self.producer.flush(20) == 0
        return self._find(request_id)

    def _save_run(self, content: str, model: str, hashes: dict[str, str]) -> Any:
        run_id, request_id = new_id(), new_id()
        with Session(self.engine) as session, session.begin():
            session.add(
                Run(
                    run_id=run_id,
                    request_id=request_id,
                    dataset_uri="/datasets/d",
                    parent_version=self.champion,
                    recipe={},
                    state="succeeded",
                    deadline_at=datetime.now(UTC),
                    content_sha256=content,
                    served_model=model,
                    **hashes,
                )
            )
        return run_id, request_id

    def _find(self, request_id: Any) -> dict[str, Any]:
        until = time.monotonic() + 180
        while True:
            for rollout in self.call("GET", "/v1/rollouts?limit=5").json()["rollouts"]:
                if rollout["request_id"] == str(request_id):
                    return dict(rollout)
            assert time.monotonic() < until, "the rollout was not opened"
            time.sleep(0.1)

    # what users do

    @contextmanager
    def users(self, react: React, *, pause: float = 0.0) -> Iterator[Served]:
        """Have ever new users ask and react for as long as the block lasts."""
        served, stop, names = Served(), threading.Event(), itertools.count()
        tag = uuid4().hex[:8]

        def live() -> None:
            while not stop.is_set():
                self._visit(next(names), tag, react, served)
                stop.wait(pause)

        threads = [threading.Thread(target=live) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield served
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _visit(self, number: int, tag: str, react: React, served: Served) -> None:
        headers = {"authorization": f"Bearer {self.stack.credentials['frontend']}"}
        user = f"{tag}-{number}"
        message = {"role": "user", "content": f"team-{number % 4}: where are my orders?"}
        body = {"model": "heliotrope", "messages": [message], "user": user}
        with suppress(httpx.TransportError):  # what is killed under them
            answer = self.client.post(f"{self.stack.url('gateway')}/v1/chat/completions", json=body, headers=headers)
            if answer.status_code != 200:
                served.refused += 1
                return
            told = answer.json()["heliotrope"]
            served.answers.append((time.time(), told["model_version"]))
            said = react(number, told["model_version"])
            if said is not None:
                thumb = {"type": "thumb", "value": said, "interaction_id": told["interaction_ids"][0], "user_id": user}
                self.client.post(f"{self.stack.url('ingest')}/v1/feedback", json=thumb, headers=headers)


def pleased(rates: dict[str, float], otherwise: float = 0.5) -> React:
    """Return users who praise an answer with the probability of its version, and blame it else."""
    rng = Random(7)

    def react(_: int, version: str) -> str:
        return "up" if rng.random() < rates.get(version, otherwise) else "down"

    return react


def save_base(folder: Path) -> Path:
    """Write the files of a chat model, as far as adoption looks at them."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    return folder
