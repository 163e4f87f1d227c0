"""Who may call what: every route of every service, against no key, wrong keys, each role and every kind of token."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from services.curator.app.api import create_router
from services.curator.config.settings import CuratorSettings
from services.curator.erasure.api import create_erasure_router
from services.curator.imports.api import create_imports_router
from services.curator.monitor.api import create_detectors_router
from services.curator.monitor.domain.evidence import Budget
from services.curator.requests.api import create_loop_router
from services.curator.review.api import create_review_router
from services.deployer import api as deployer_api
from services.evaluator import api as evaluator_api
from services.gateway.api import routes as gateway_api
from services.gateway.api.errors import render_errors_as_openai
from services.trainer import api as trainer_api
from shared.accounts import StoredAccount
from shared.assertions import issue_assertion
from shared.auth import Caller, KeyRing, StoredKey
from shared.bus.memory import MemoryBroker
from shared.feedback_tokens import FeedbackToken, FeedbackTokens
from shared.http import create_app
from shared.secret_hashes import calculate_secret_hash
from shared.settings import Settings
from shared.signing import Signer, generate_key
from shared.tables.access import ACCOUNT_ROLES, ROLES
from tests.builders import EMBEDDER
from tests.unit.ingest.app import database_is_away, make_ingest_app

DEPLOYER = Signer(generate_key())
SECRET = "a token secret of tests"
ANSWER = UUID("0199c2f0-7a3e-7c54-9d7b-1f2e3a4b5c6d")
USER = "f" * 32

FRONTEND, TOKEN = frozenset({"frontend"}), frozenset({"frontend", "token"})
OPERATORS, ADMIN = frozenset({"ops", "admin"}), frozenset({"admin"})
RATERS, INTERNAL = OPERATORS | {"rater"}, OPERATORS | {"internal"}
PERSON: frozenset[str] = frozenset({"a person's sign-in key"})

ROUTER_OR_ROUTE = re.compile(
    r'APIRouter\((?:prefix="(?P<prefix>[^"]*)")?|@\w+\.(?P<method>get|post|put|patch|delete)\(\s*"(?P<path>[^"]*)"'
)

ALLOWED: dict[tuple[str, str, str], frozenset[str]] = {
    ("ingest", "POST", "/v1/feedback"): TOKEN,
    ("ingest", "POST", "/v1/feedback/batch"): FRONTEND,
    ("ingest", "POST", "/v1/traces"): FRONTEND,
    ("ingest", "GET", "/v1/feedback"): TOKEN,
    ("ingest", "POST", "/v1/interactions"): FRONTEND,
    ("ingest", "POST", "/v1/interactions/batch"): FRONTEND,
    ("gateway", "POST", "/v1/chat/completions"): FRONTEND | OPERATORS,
    ("gateway", "GET", "/v1/models"): FRONTEND | OPERATORS,
    ("gateway", "GET", "/v1/models/{model_id:path}"): FRONTEND | OPERATORS,
    ("curator", "GET", "/v1/pairs"): OPERATORS,
    ("curator", "GET", "/v1/datasets"): OPERATORS,
    ("curator", "GET", "/v1/datasets/{dataset_sha256}"): OPERATORS,
    ("curator", "GET", "/v1/datasets/{dataset_sha256}/report"): ADMIN,
    ("curator", "GET", "/v1/requests"): OPERATORS,
    ("curator", "GET", "/v1/lineage/{kind}/{subject}"): OPERATORS,
    ("curator", "GET", "/v1/summary"): OPERATORS,
    ("curator", "GET", "/v1/parked"): OPERATORS,
    ("curator", "GET", "/v1/contested"): OPERATORS,
    ("curator", "GET", "/v1/quarantine"): OPERATORS,
    ("curator", "GET", "/v1/quarantine/decisions"): OPERATORS,
    ("curator", "POST", "/v1/quarantine/{kind}/{subject}/{decision}"): ADMIN | {"data"},
    ("curator", "POST", "/v1/erasures"): ADMIN,
    ("curator", "GET", "/v1/erasures"): ADMIN,
    ("curator", "GET", "/v1/erasures/{erasure_id}"): ADMIN,
    ("curator", "GET", "/v1/imports"): OPERATORS,
    ("curator", "POST", "/v1/imports/withdrawals"): ADMIN,
    ("curator", "POST", "/v1/retrain"): ADMIN,
    ("curator", "POST", "/v1/pause"): ADMIN,
    ("curator", "POST", "/v1/resume"): ADMIN,
    ("monitor", "GET", "/v1/detectors"): OPERATORS,
    ("monitor", "GET", "/v1/detectors/windows"): OPERATORS,
    ("trainer", "GET", "/v1/runs"): OPERATORS,
    ("trainer", "GET", "/v1/runs/{run_id}"): OPERATORS,
    ("trainer", "POST", "/v1/runs/{run_id}/cancel"): ADMIN,
    ("evaluator", "GET", "/v1/comparisons/next"): RATERS,
    ("evaluator", "POST", "/v1/comparisons/{comparison_id}/vote"): RATERS,
    ("evaluator", "GET", "/v1/evaluations"): OPERATORS,
    ("evaluator", "GET", "/v1/evaluations/{evaluation_id}"): OPERATORS,
    ("deployer", "GET", "/v1/routing"): INTERNAL,
    ("deployer", "GET", "/v1/rollouts"): OPERATORS,
    ("deployer", "GET", "/v1/rollouts/{rollout_id}"): OPERATORS,
    ("deployer", "GET", "/v1/audit"): OPERATORS,
    ("deployer", "POST", "/v1/rollouts/{rollout_id}/approve"): ADMIN,
    ("deployer", "POST", "/v1/rollouts/{rollout_id}/{command}"): ADMIN,
    ("deployer", "POST", "/v1/rollback"): ADMIN,
    ("deployer", "GET", "/v1/approval-policy"): OPERATORS,
    ("deployer", "POST", "/v1/approval-policy"): ADMIN,
    ("deployer", "POST", "/v1/approval-policy/stop"): ADMIN,
    ("deployer", "GET", "/v1/notices"): OPERATORS,
    ("deployer", "POST", "/v1/shadow-comparisons"): frozenset({"internal"}),
    ("deployer", "POST", "/v1/assertions"): PERSON,
}
OPERATIONS = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
PLACES = {"rollout_id": str(ANSWER), "command": "pause", "kind": "pair", "decision": "release"}


def now() -> datetime:
    return datetime.now(UTC)


def list_routes(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Method and path of each route; FastAPI keeps included routers as they were."""
    for route in routes:
        if (router := getattr(route, "original_router", None)) is not None:
            yield from list_routes(router.routes)
        else:
            yield from ((method, route.path) for method in (route.methods or ()) if method != "HEAD")


@dataclass
class House:
    """All services' HTTP apps, without what stands behind them: who is let in may be answered 500 or 503."""

    apps: dict[str, FastAPI]
    keys: dict[str, str]
    tokens: dict[str, str]

    def call(self, service: str, method: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
        place = re.sub(r"{(\w+)}", lambda match: PLACES.get(match[1], str(ANSWER)), path)
        body = {"type": "thumb", "interaction_id": str(ANSWER), "value": "up"} if method == "POST" else None
        query = {"interaction_id": str(ANSWER)} if (service, method) == ("ingest", "GET") else None

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.apps[service], raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://house") as client:
                return await client.request(method, place, json=body, params=query, headers=dict(headers))

        return asyncio.run(send())


def make_token(secret: str = SECRET, answer: UUID = ANSWER, hours: float = 1, key_id: str = "0" * 12) -> str:
    expires_at = datetime.now(UTC) + timedelta(hours=hours)
    return FeedbackTokens(secret).sign(FeedbackToken((answer,), USER, key_id, expires_at))


def make_apps(ring: KeyRing) -> dict[str, FastAPI]:
    missing: Any = None
    away: Any = database_is_away
    routers = {
        "gateway": [gateway_api.create_router(missing, missing)],
        "curator": [
            create_router(away),
            create_loop_router(away, Settings(), CuratorSettings(), EMBEDDER, now),
            create_review_router(away, now),
            create_erasure_router(away, missing, missing),
            create_imports_router(away, missing),
        ],
        "monitor": [create_detectors_router(away, Budget(180), now)],
        "trainer": [trainer_api.make_router(away, topic_prefix="")],
        "evaluator": [evaluator_api.create_router(missing, away)],
        "deployer": [deployer_api.create_router(missing, away), deployer_api.create_sign_in_router(None, now)],
    }
    apps = {"ingest": make_ingest_app(ring, FeedbackTokens(SECRET), MemoryBroker())}
    for service, its_routers in routers.items():
        apps[service] = create_app(service, checks={})
        apps[service].state.keys = ring
        for router in its_routers:
            apps[service].include_router(router)
    render_errors_as_openai(apps["gateway"])
    return apps


def make_key(role: str, number: int, **options: Any) -> tuple[str, StoredKey]:
    key_id, secret = f"{number:012x}", chr(ord("A") + number) * 43
    stored = StoredKey(Caller(key_id, role, role), calculate_secret_hash(secret), **options)
    return f"hk_{key_id}_{secret}", stored


@pytest.fixture(scope="module")
def house() -> House:
    """One for all: nothing that a call may do is kept."""
    made = {role: make_key(role, number) for number, role in enumerate(ROLES)}
    made["expired"] = make_key("admin", 10, expires_at=now() - timedelta(seconds=1))
    hour_ago = now() - timedelta(hours=1)
    rotated = calculate_secret_hash("z" * 43)
    made["rotated"] = make_key("admin", 11, previous_secret_hash=rotated, previous_expires_at=hour_ago)
    people = {f"id-{role}": StoredAccount(f"id-{role}", role, role, b"") for role in ACCOUNT_ROLES}
    ring = KeyRing(
        lambda: {stored.caller.key_id: stored for _, stored in made.values()},
        load_accounts=lambda: people,
        assertion_keys=[DEPLOYER.public_key],
    )
    ring.refresh()
    keys = {name: key for name, (key, _) in made.items()}
    keys["rotated"] = keys["rotated"][:16] + "z" * 43
    keys["unknown"] = f"hk_{'f' * 12}_{'x' * 43}"
    keys["foreign secret"] = keys["admin"][:16] + keys["ops"][16:]
    keys["nonsense"] = "letmein"
    key_id = keys["frontend"].split("_")[1]
    tokens = {
        "token": make_token(key_id=key_id),
        "forged": make_token("another secret"),
        "cut": make_token(key_id=key_id)[:-3],
        "expired": make_token(hours=-1),
        "foreign": make_token(answer=UUID(int=7), key_id=key_id),
    }
    return House(make_apps(ring), keys, tokens)


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def test_every_route_says_who_may_call_it(house: House):
    found = {
        (service, method, path)
        for service, app in house.apps.items()
        for method, path in list_routes(app.routes)
        if path not in OPERATIONS
    }
    assert found == set(ALLOWED)


def list_written_routes() -> Iterator[tuple[str, str, str]]:
    """Process, method and path of every route in the source, each below the prefix of the router before it."""
    for source in Path("services").rglob("*.py"):
        if "console" in source.parts:  # pages for people who signed in: tests/integration/console/test_doors.py
            continue
        process, prefix = "monitor" if "monitor" in source.parts else source.parts[1], ""
        for found in ROUTER_OR_ROUTE.finditer(source.read_text("utf-8")):
            if found["method"]:
                yield process, found["method"].upper(), prefix + found["path"]
            else:
                prefix = found["prefix"] or ""


def test_no_service_has_a_route_that_this_test_does_not_know():
    written = set(list_written_routes())
    assert len(written) > len(ALLOWED) / 2
    assert written - set(ALLOWED) == set()


@pytest.mark.parametrize(("service", "method", "path"), sorted(ALLOWED))
def test_only_the_roles_of_the_table_are_let_in(house: House, service: str, method: str, path: str):
    allowed = ALLOWED[service, method, path]
    for role in ROLES:
        status = house.call(service, method, path, bearer(house.keys[role])).status_code
        refused = 401 if allowed is PERSON else 403
        assert (status not in (401, 403)) if role in allowed else (status == refused), (role, status)
    answers = {name: house.call(service, method, path, bearer(house.keys[name])) for name in WRONG_KEYS}
    answers["nothing"] = house.call(service, method, path, {})
    answers["another scheme"] = house.call(service, method, path, {"authorization": f"Basic {house.keys['admin']}"})
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 401)
    assert all(answer.headers["www-authenticate"] == "Bearer" for answer in answers.values())


@pytest.mark.parametrize(("service", "method", "path"), sorted(ALLOWED))
def test_an_assertion_opens_what_the_persons_role_opens(house: House, service: str, method: str, path: str):
    allowed = ALLOWED[service, method, path]
    if allowed is PERSON:
        return
    for role in ACCOUNT_ROLES:
        token = issue_assertion(f"id-{role}", role, DEPLOYER, now())
        status = house.call(service, method, path, bearer(token)).status_code
        assert (status not in (401, 403)) is (role in allowed), (role, status)  # ingest takes no people at all
    wrong = {
        "expired": issue_assertion("id-admin", "admin", DEPLOYER, now() - timedelta(seconds=61)),
        "of a time to come": issue_assertion("id-admin", "admin", DEPLOYER, now() + timedelta(hours=1)),
        "signed by a stranger": issue_assertion("id-admin", "admin", Signer(generate_key()), now()),
        "of another role": issue_assertion("id-rater", "admin", DEPLOYER, now()),
        "of an unknown account": issue_assertion("id-nobody", "admin", DEPLOYER, now()),
        "cut": issue_assertion("id-admin", "admin", DEPLOYER, now())[:-4],
        "nothing in it": "as_.",
        "long": "as_" + "A" * 5_000,
    }
    statuses = {name: house.call(service, method, path, bearer(token)).status_code for name, token in wrong.items()}
    assert statuses == dict.fromkeys(wrong, 401)


WRONG_KEYS = ("unknown", "foreign secret", "nonsense", "expired", "rotated")


@pytest.mark.parametrize(("service", "method", "path"), sorted(ALLOWED))
def test_feedback_tokens_open_feedback_on_their_own_answers_and_nothing_else(
    house: House, service: str, method: str, path: str
):
    allowed = ALLOWED[service, method, path]
    ways = [lambda text: {"x-heliotrope-feedback-token": text}, bearer]
    for headers in ways:
        statuses = {
            name: house.call(service, method, path, headers(text)).status_code for name, text in house.tokens.items()
        }
        foreign = statuses.pop("foreign")
        good = statuses.pop("token")
        assert statuses == {"forged": 401, "cut": 401, "expired": 401}
        if "token" in allowed:
            assert good not in (401, 403)
            assert foreign == 403
        else:
            assert (good, foreign) == (401, 401)
