"""Composition root: `python -m services.gateway` is API, spool relay and routing follower in one process."""

import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from services.gateway.adapters.breakers import Breakers
from services.gateway.adapters.routing import RoutingFollower, RoutingPoll, RoutingStore
from services.gateway.adapters.shadow_reports import ShadowReports
from services.gateway.adapters.spool import Spool
from services.gateway.adapters.spool_relay import SpoolRelay
from services.gateway.adapters.upstream import Upstream
from services.gateway.api.errors import render_errors_as_openai
from services.gateway.api.openapi import SECURITY_SCHEMES
from services.gateway.api.routes import EXPOSED_HEADERS, create_router
from services.gateway.handlers.admission import Admission
from services.gateway.handlers.chat import ChatHandler
from services.gateway.handlers.mirroring import Mirror, Report
from services.gateway.handlers.recording import Recorder
from services.gateway.metrics import REFUSED
from services.gateway.settings import GatewaySettings, SharedSettings
from shared.auth import KeyRing, open_key_ring
from shared.bus import Consumer, Producer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.librdkafka_reader import LibrdkafkaBusReader
from shared.bus.reachability import check_broker
from shared.db import connect, make_session_factory
from shared.events import RolloutAdvanced, Route
from shared.feedback_tokens import FeedbackTokens
from shared.http import Check, Cors, RequestLimiter, create_app
from shared.logging import configure_logging
from shared.process import STOP_DEADLINE_SECONDS, Worker, every, run_workers, serve, spare_collections
from shared.rate_limits import RateLimit, RateLimiter
from shared.request_body import RequestBodyReader
from shared.settings import PORT_NUMBERS, load_settings
from shared.signing import Verifier
from shared.user_hash_generations import UserHashesInForce, configure_user_hashes
from shared.user_hashes import FindUserHashes

SERVICE = "gateway"
RETENTION_SECONDS = 600.0

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    settings, own = load_settings(SharedSettings), load_settings(GatewaySettings)
    configure_logging(SERVICE, settings.log_level)
    serve(create(settings, own), settings, settings.choose_port(SERVICE))


def create(settings: SharedSettings, own: GatewaySettings) -> FastAPI:
    state_dir = own.state_dir or settings.home / SERVICE
    engine = connect(settings)
    sessions = make_session_factory(engine)
    user_hashes = UserHashesInForce(configure_user_hashes(settings), sessions)
    keys = open_key_ring(sessions, settings.assertion_public_keys, user_hashes)
    routing = RoutingStore(
        state_dir / "routing.json",
        settings.family,
        allowed_base_urls=own.allowed_base_urls,
        verifier=Verifier(own.routing_public_keys),
        max_age_seconds=own.routing_max_age_seconds,
    )
    routing.load()
    spool = Spool(state_dir / "spool.sqlite", max_rows=own.spool_max_rows, max_bytes=own.spool_max_bytes)
    upstream = _make_upstream(own, own.model_server_key, own.max_connections, own.breaker_failures)
    reports = ShadowReports(_find_deployer(settings, own, "shadow-comparisons"), own.internal_key.get_secret_value)
    mirror = make_mirror(own, routing, reports.report)
    deployer_client = httpx.Client(timeout=5.0, trust_env=False)
    relay = SpoolRelay(spool, _open_producer(settings), own.handover_seconds)
    follower = RoutingFollower(routing, _open_consumer(settings))
    workers = [
        Worker("keys", keys.run),
        Worker("relay", relay.run),
        every(
            RETENTION_SECONDS, "retention", partial(relay.forget_refused, timedelta(days=own.refused_retention_days))
        ),
        Worker("routing", follower.run),
        every(
            own.routing_poll_seconds,
            "routing-poll",
            RoutingPoll(
                routing, deployer_client, _find_deployer(settings, own, "routing"), own.internal_key.get_secret_value
            ).poll,
        ),
    ]

    def close() -> None:
        spool.close()
        deployer_client.close()
        engine.dispose()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        spool.start()
        spare_collections()
        async with (
            upstream,
            mirror.running(),
            run_workers(workers, close, STOP_DEADLINE_SECONDS + own.handover_seconds)(app),
        ):
            yield

    checks = {"keys": keys.check, "user-hashes": user_hashes.check, "spool": spool.check, "routing": routing.check}
    outages: dict[str, Check] = {
        "broker": partial(check_broker, settings.kafka_bootstrap_servers),
        "routing-bus": follower.check,
    }
    chat = _make_chat_handler(settings, own, routing, spool, upstream, mirror, user_hashes)
    return create_http(chat, keys, own, checks, lifespan, outages)


def create_http(
    chat: ChatHandler,
    keys: KeyRing,
    own: GatewaySettings,
    checks: Mapping[str, Check],
    lifespan: Lifespan,
    outages: Mapping[str, Check],
) -> FastAPI:
    """Create the app around its handler. Bodies are bounded where they are read, so the framework bounds none."""
    app = create_app(
        SERVICE,
        checks=checks,
        outages=outages,
        lifespan=lifespan,
        max_body_bytes=sys.maxsize,
        cors=Cors(own.cors_origins, ["*"], EXPOSED_HEADERS),
        limiter=RequestLimiter(own.max_requests),
        body_deadline_seconds=own.body_deadline_seconds,
        decodes_bodies=True,
    )
    app.state.keys = keys
    render_errors_as_openai(app)
    bodies = RequestBodyReader(
        max_bytes=own.max_body_bytes,
        max_arriving_bytes=own.max_arriving_bytes,
        deadline_seconds=own.body_deadline_seconds,
    )
    app.include_router(create_router(chat, bodies))
    _describe_security(app)
    return app


def _make_chat_handler(
    settings: SharedSettings,
    own: GatewaySettings,
    routing: RoutingStore,
    spool: Spool,
    upstream: Upstream,
    mirror: Mirror,
    find_user_hashes: FindUserHashes,
) -> ChatHandler:
    admission = make_admission(own)
    recorder = Recorder(
        spool,
        admission.charge,
        topic_prefix=settings.topic_prefix,
        max_event_bytes=own.max_event_bytes,
        deadline_seconds=own.spool_deadline_seconds,
    )
    return ChatHandler(
        routing=routing,
        upstream=upstream,
        recorder=recorder,
        admission=admission,
        tokens=FeedbackTokens(settings.feedback_token_secret.get_secret_value()),
        family=settings.family,
        find_user_hashes=find_user_hashes,
        token_lifetime=timedelta(days=own.feedback_token_days),
        mirror=mirror,
        now=now,
    )


def _make_upstream(
    own: GatewaySettings,
    key: SecretStr,
    connections: int,
    failures: int = sys.maxsize,
    whole_seconds: float | None = None,
) -> Upstream:
    """Make a client of model servers; by default it leaves none alone, however often it fails.

    `whole_seconds`: what an answer that is not streamed may take, in place of the settings' time.
    """
    return Upstream(
        Breakers(max_failures=failures, min_users=own.breaker_users, open_seconds=own.breaker_open_seconds),
        max_connections=connections,
        connect_timeout_seconds=own.connect_timeout_seconds,
        answer_timeout_seconds=whole_seconds or own.answer_timeout_seconds,
        idle_timeout_seconds=own.idle_timeout_seconds,
        stream_timeout_seconds=own.stream_timeout_seconds,
        api_key=key.get_secret_value(),
    )


def make_mirror(own: GatewaySettings, routing: RoutingStore, report: Report) -> Mirror:
    """Make what asks a candidate in its shadow: whole, in the time that the champion's answer may be streamed in."""
    url, model = own.shadow_judge_url.rstrip("/"), own.shadow_judge_model
    longest = max(own.answer_timeout_seconds, own.stream_timeout_seconds)
    return Mirror(
        routing=routing,
        upstream=_make_upstream(own, own.model_server_key, own.shadow_requests, whole_seconds=longest),
        report=report,
        judge=Route(version="judge", model=model, base_url=url) if url else None,
        judge_upstream=_make_upstream(own, own.shadow_judge_key, own.shadow_requests),
        waiting=own.shadow_waiting,
        workers=own.shadow_requests,
    )


def make_admission(own: GatewaySettings) -> Admission:
    def limit(subject: str, unit: str, per_second: float, burst: int) -> RateLimiter:
        rate = RateLimit(per_second, burst) if per_second else None
        return RateLimiter(rate, time.monotonic, subject=subject, unit=unit, count_refused=REFUSED.labels(subject).inc)

    return Admission(
        key_requests=limit("key", "requests", own.key_requests_per_second, own.key_burst_requests),
        user_requests=limit("user", "requests", own.user_requests_per_second, own.user_burst_requests),
        key_tokens=limit("key's budget", "tokens", own.key_tokens_per_day / 86_400, own.key_tokens_per_day),
        context_tokens=own.context_tokens,
    )


def _open_producer(settings: SharedSettings) -> Callable[[], Producer]:
    def open_producer() -> Producer:
        check_broker(settings.kafka_bootstrap_servers)
        return LibrdkafkaBusProducer(
            settings.kafka_bootstrap_servers, client_id=SERVICE, security=settings.kafka_security
        )

    return open_producer


def _open_consumer(settings: SharedSettings) -> Callable[[], Consumer]:
    topic = settings.topic_prefix + RolloutAdvanced.topic

    def open_consumer() -> Consumer:
        check_broker(settings.kafka_bootstrap_servers)
        return LibrdkafkaBusReader(
            settings.kafka_bootstrap_servers, [topic], client_id=SERVICE, security=settings.kafka_security
        )

    return open_consumer


def _find_deployer(settings: SharedSettings, own: GatewaySettings, route: str) -> str:
    base = own.deployer_url or f"http://127.0.0.1:{settings.port_base + PORT_NUMBERS['deployer']}"
    return f"{base.rstrip('/')}/v1/{route}"


def _describe_security(app: FastAPI) -> None:
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document.setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
        return document

    app.openapi = openapi  # type: ignore[method-assign]
