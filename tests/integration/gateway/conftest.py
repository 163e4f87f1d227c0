"""A running gateway, as its clients see it."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from openai import OpenAI
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from services.gateway.bootstrap import create
from services.gateway.domain.assignment import assign
from services.gateway.settings import GatewaySettings, SharedSettings
from shared.auth import create_key
from shared.bus import decode, encode
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer, create_topics
from shared.events import Collection, InteractionRecorded, RolloutAdvanced, Route, RoutingTable
from shared.ids import calculate_user_hash
from tests.builders import make_route, make_routing
from tests.integration.gateway.model_server import ModelServer, serve, wait_until

HASH_SECRET = "a hash secret of tests"
TOKEN_SECRET = "a token secret of tests"
BREAKER_FAILURES = 3
BREAKER_OPEN_SECONDS = 1.0
MESSAGES: list[Any] = [{"role": "user", "content": "The lamp I bought flickers. What now?"}]


class RunningGateway:
    """A gateway with two model servers behind it, a real Postgres and a broker."""

    def __init__(
        self, url: str, settings: SharedSettings, keys: dict[str, str], servers: dict[str, ModelServer]
    ) -> None:
        self.url, self.settings, self.keys, self.servers = url, settings, keys, servers
        self.urls: dict[str, str] = {}
        self.clients: list[OpenAI] = []
        self.generation = 0
        self.producer = KafkaBusProducer(settings.kafka_bootstrap_servers, client_id="test-deployer")

    def client(self, role: str = "frontend") -> OpenAI:
        return self.client_with(self.keys[role])

    def client_with(self, key: str) -> OpenAI:
        self.clients.append(OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0))
        return self.clients[-1]

    def close(self) -> None:
        self.producer.close(5)
        for client in self.clients:
            client.close()

    def route(self, version: str) -> Route:
        return make_route(version, self.urls[version], f"/checkpoints/{version}")

    def roll_out(
        self, champion: str, canary: str | None = None, percent: float = 0, collection: Collection | None = None
    ) -> RoutingTable:
        """Announce a table, and wait until the gateway has heard of it."""
        self.generation += 1
        routing = make_routing(
            self.route(champion),
            generation=self.generation,
            canary=self.route(canary) if canary else None,
            canary_percent=percent,
            rollout_id=UUID(int=7),
            collection=collection,
        )
        event = RolloutAdvanced(state="canary", summary="a stage of tests", routing=routing, at=datetime.now(UTC))
        self.producer.send(encode(event, source="deployer", topic_prefix=self.settings.topic_prefix)).result(10)
        wait_until(lambda: self.heard_generation() == self.generation)
        return routing

    def heard_generation(self) -> int:
        path = self.settings.home / "gateway" / "routing.json"
        return int(json.loads(path.read_bytes())["generation"]) if path.exists() else 0

    def recorded(self, count: int) -> list[InteractionRecorded]:
        """Every interaction on the topic, once `count` are there."""
        topic = self.settings.topic_prefix + InteractionRecorded.topic
        consumer = KafkaBusConsumer(self.settings.kafka_bootstrap_servers, [topic], None, client_id="test")
        events: list[Any] = []
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            records = consumer.poll(0.5)
            events += [decode(record) for record in records]
            if len(events) >= count and not records:
                break
        consumer.close()
        assert len(events) == count
        return sorted(events, key=lambda event: event.interaction_id)


@pytest.fixture
def gateway(database_url: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Iterator[RunningGateway]:
    create_topics(kafka_bootstrap, topic_prefix=topic_prefix)
    settings = SharedSettings(
        home=tmp_path,
        database_url=database_url,
        kafka_bootstrap_servers=kafka_bootstrap,
        topic_prefix=topic_prefix,
        user_hash_secret=HASH_SECRET,
        feedback_token_secret=TOKEN_SECRET,
    )
    engine = create_engine(database_url)
    with Session(engine) as session, session.begin():
        keys = {role: create_key(session, role, role) for role in ("frontend", "ops", "admin", "rater")}
    engine.dispose()
    own = GatewaySettings(
        deployer_url="http://127.0.0.1:9",
        cors_origins=["https://shop.example"],
        breaker_failures=BREAKER_FAILURES,
        breaker_users=1,
        breaker_open_seconds=BREAKER_OPEN_SECONDS,
    )
    servers = {"1": ModelServer(), "2": ModelServer()}
    with serve(servers["1"].app) as one, serve(servers["2"].app) as two, serve(create(settings, own)) as url:
        gateway = RunningGateway(url, settings, keys, servers)
        gateway.urls = {"1": f"{one}/v1", "2": f"{two}/v1"}
        yield gateway
        gateway.close()


def user_of(arm: str, routing: RoutingTable) -> str:
    """Some user whom the table means for the arm."""
    names = (f"user-{number}" for number in range(1_000))
    return next(
        name for name in names if assign(routing, calculate_user_hash(name, None, HASH_SECRET) or "").arm == arm
    )
