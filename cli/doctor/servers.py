"""Checks of the servers: Postgres with its schema and clock, Valkey, MLflow, the models."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import redis
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from cli.doctor.finding import Finding, ok, problem, warning
from local.connections import Connections
from local.layout import find_checkout
from shared.tables.access import ROLES

NEEDED_POSTGRES = 160_000
SKEW_SECONDS = 2.0
TIMEOUT_SECONDS = 5


def check_postgres(connections: Connections) -> Iterator[Finding]:
    """Yield whether it answers, its version, schema, clock, keys and champion."""
    engine = create_engine(connections.database_url, connect_args={"connect_timeout": TIMEOUT_SECONDS})
    try:
        with engine.connect() as connection:
            yield from _check_server(connection)
            yield from check_clock(connection)
            yield from _check_schema(connection, engine)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).strip().splitlines()[0]
        where = engine.url.render_as_string(hide_password=True)
        yield problem("postgres", f"{where}: {said}", "start it (heliotrope up), or correct HELIOTROPE_DATABASE_URL")
    finally:
        engine.dispose()


def _check_server(connection: Connection) -> Iterator[Finding]:
    number = int(connection.scalar(text("SHOW server_version_num")) or 0)
    version = connection.scalar(text("SHOW server_version"))
    if number < NEEDED_POSTGRES:
        yield problem("postgres", f"PostgreSQL {version}", "upgrade the server to PostgreSQL 16 or newer")
    else:
        yield ok("postgres", f"PostgreSQL {version}")


def check_clock(connection: Connection) -> Iterator[Finding]:
    before = datetime.now(UTC)
    there = connection.scalar(text("SELECT clock_timestamp()"))
    middle = before + (datetime.now(UTC) - before) / 2
    skew = (there - middle).total_seconds() if there else 0.0
    if abs(skew) > SKEW_SECONDS:
        remedy = "run an NTP client on both machines: feedback from the future is refused, and windows are cut by time"
        yield problem("clock", f"the database's clock is {skew:+.1f} s from this machine's", remedy)
    else:
        yield ok("clock", f"{abs(skew):.2f} s between this machine and the database")


def _check_schema(connection: Connection, engine: Engine) -> Iterator[Finding]:
    head = ScriptDirectory.from_config(Config(find_checkout() / "alembic.ini")).get_current_head()
    exists = connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
    found = connection.scalar(text("SELECT version_num FROM alembic_version")) if exists else None
    if found != head:
        summary = f"the schema is at {found}, not {head}" if found else "the database has no tables of ours"
        yield problem("schema", summary, "heliotrope migrate")
        return
    yield ok("schema", f"at {head}, the newest")
    yield from _check_keys(connection)
    yield from _check_champion(connection)


def _check_keys(connection: Connection) -> Iterator[Finding]:
    roles = set(connection.scalars(text("SELECT DISTINCT role FROM access.api_keys WHERE revoked_at IS NULL")))
    if missing := [role for role in ROLES if role not in roles]:
        remedy = f"heliotrope keys create NAME --role {missing[0]}"
        yield warning("keys", f"no valid key for: {', '.join(missing)}", remedy)
    else:
        yield ok("keys", "a valid key for every role")


def _check_champion(connection: Connection) -> Iterator[Finding]:
    if connection.scalar(text("SELECT count(*) FROM deployer.routing")):
        yield ok("champion", "a champion is adopted")
    else:
        yield warning("champion", "no champion: the gateway cannot answer", "heliotrope adopt MODEL")


def check_redis(connections: Connections) -> Iterator[Finding]:
    remedy = "start it (heliotrope up), or correct HELIOTROPE_REDIS_URL"
    try:
        with redis.Redis.from_url(
            connections.redis_url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        ) as client:
            client.ping()
            info = client.info("server")
    except (redis.RedisError, ValueError) as error:
        yield problem("redis", f"does not answer: {type(error).__name__}", remedy)
        return
    name = info.get("server_name", "redis")
    yield ok("redis", f"{name} {info.get(f'{name}_version', info.get('redis_version'))}")


def check_mlflow(connections: Connections) -> Iterator[Finding]:
    yield _ask("mlflow", f"{connections.mlflow_tracking_uri.rstrip('/')}/health", "HELIOTROPE_MLFLOW_TRACKING_URI")


def check_models(connections: Connections) -> Iterator[Finding]:
    """Ask `/health` beside the API: vLLM has it, and so has the local server."""
    for url in connections.model_server_urls.split(","):
        health = f"{url.strip().rstrip('/').removesuffix('/v1')}/health"
        yield _ask("model server", health, "HELIOTROPE_MODEL_SERVER_URLS")


def _ask(check: str, url: str, variable: str) -> Finding:
    remedy = f"start it (heliotrope up), or correct {variable}"
    try:
        response = httpx.get(url, timeout=TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return problem(check, f"{url} does not answer: {type(error).__name__}", remedy)
    if response.is_error:
        return problem(check, f"{url} answers {response.status_code}", remedy)
    return ok(check, url)
