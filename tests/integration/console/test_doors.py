"""Who may come in, by which door, and what a page of another site can make a browser do: nothing."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from services.console.api.cursors import encode_cursor
from services.console.bootstrap import SIGN_INS
from services.console.handlers.signing_in import derive_subject
from shared.accounts import disable_account
from tests.integration.console.scene import ROLES, Desk

READERS, OPERATORS, ADMIN = {"data", "ops", "admin"}, {"ops", "admin"}, {"admin"}
RATERS, REVIEWERS, EVERYBODY = {"rater", "ops", "admin"}, {"data", "admin"}, set(ROLES)
ALLOWED = {
    ("GET", "/"): EVERYBODY,  # a rater is sent to their page
    ("GET", "/live"): EVERYBODY,
    ("POST", "/sign-out"): EVERYBODY,
    ("POST", "/loop/{switch}"): ADMIN,
    ("POST", "/loop-retrain"): ADMIN,
    ("GET", "/rollouts"): OPERATORS,
    ("GET", "/rollouts/{rollout_id}"): OPERATORS,
    ("POST", "/rollouts/{rollout_id}/{command}"): ADMIN,
    ("POST", "/approval-policy/stop"): ADMIN,
    ("GET", "/evaluations"): OPERATORS,
    ("GET", "/evaluations/{evaluation_id}"): OPERATORS,
    ("GET", "/rating"): RATERS,
    ("POST", "/rating"): RATERS,
    ("GET", "/feedback"): READERS,
    ("GET", "/conversations/{interaction_id}"): READERS,
    ("GET", "/pairs"): READERS,
    ("GET", "/pairs/{pair_id}"): READERS,
    ("GET", "/review"): READERS,
    ("POST", "/review"): REVIEWERS,
    ("GET", "/datasets"): READERS,
    ("GET", "/datasets/{dataset_sha256}"): READERS,
    ("GET", "/datasets/{dataset_sha256}/report"): ADMIN,
    ("GET", "/drift"): READERS,
    ("GET", "/training"): OPERATORS,
    ("GET", "/training/{run_id}"): OPERATORS,
    ("POST", "/training/{run_id}/cancel"): ADMIN,
    ("GET", "/audit"): OPERATORS,
    ("GET", "/health"): OPERATORS,
    ("GET", "/settings"): OPERATORS,
}
OPEN = {
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/static/{name}"),
    ("GET", "/favicon.ico"),
    *(("GET", path) for path in ("/healthz", "/readyz", "/metrics")),
}
"""For anybody: nothing of the deployment stands there."""


def list_routes(routes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if (router := getattr(route, "original_router", None)) is not None:
            yield from list_routes(router.routes)
        else:
            yield from ((method, route.path) for method in (route.methods or ()) if method != "HEAD")


def fill(desk: Desk, path: str) -> str:
    places = {
        "rollout_id": desk.rows.rollout,
        "command": "pause",
        "switch": "pause",
        "evaluation_id": desk.rows.evaluation,
        "interaction_id": desk.rows.interaction,
        "pair_id": desk.rows.pair,
        "dataset_sha256": desk.rows.dataset,
        "run_id": desk.rows.run,
    }
    return re.sub(r"{(\w+)}", lambda match: str(places[match[1]]), path)


def test_every_route_says_whom_it_is_for(desk: Desk):
    assert set(list_routes(desk.app.routes)) == set(ALLOWED) | OPEN


def test_each_role_opens_its_own_pages_and_no_other(desk: Desk):
    for (method, path), roles in ALLOWED.items():
        if path in ("/live", "/sign-out"):
            continue
        for role in ROLES:
            if method == "GET":
                status = desk.sign_in(role).get(fill(desk, path)).status_code
            else:
                status = desk.send(role, fill(desk, path)).status_code
            assert (status != 403) is (role in roles), (method, path, role, status)


def test_nobody_without_a_session_sees_or_does_anything(desk: Desk):
    for method, path in ALLOWED:
        answer = desk.open().request(method, fill(desk, path))
        if method == "GET":
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/sign-in"), path
        else:
            assert answer.status_code in (401, 422), path


def test_the_page_that_was_wanted_is_shown_after_sign_in_and_no_address_elsewhere(desk: Desk):
    browser = desk.open()
    asked = browser.get("/feedback?type=edit&words=a%26b")
    assert asked.headers["location"] == "/sign-in?next=/feedback%3Ftype%3Dedit%26words%3Da%2526b"
    wanted = "/feedback?type=edit&words=a%26b"
    for next_page, expected in (
        (wanted, wanted),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/sign-out", "/"),
        ("", "/"),
    ):
        answer = desk.open().post("/sign-in", data={"key": desk.keys["admin"], "next": next_page})
        assert answer.headers["location"] == expected, next_page


def test_a_session_gets_a_new_secret_and_the_one_before_opens_nothing(desk: Desk):
    browser = desk.open()
    browser.cookies.set("heliotrope_session", "planted-by-somebody-else", domain="console.local")
    browser.post("/sign-in", data={"key": desk.keys["ops"]})
    first = browser.cookies["heliotrope_session"]
    assert first != "planted-by-somebody-else"
    again = browser.post("/sign-in", data={"key": desk.keys["ops"]})
    cookie = again.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    for old in (first, "planted-by-somebody-else"):
        other = desk.open()
        other.cookies.set("heliotrope_session", old)
        assert other.get("/").status_code == 303
    assert browser.get("/").status_code == 200


def test_wrong_keys_are_told_what_a_right_one_is(desk: Desk):
    api_key = desk.setup.keys["admin"]
    for key, words in (
        (api_key, "API key of a program"),
        ("ha_nonsense", "begins with ha_"),
        (desk.keys["admin"][:-1] + ("A" if desk.keys["admin"][-1] != "A" else "B"), "no account has this key"),
        ("", "begins with ha_"),
    ):
        answer = desk.open().post("/sign-in", data={"key": key})
        assert answer.status_code == 401
        assert words in answer.text
        assert "set-cookie" not in answer.headers
        assert not key or key not in answer.text


def test_wrong_keys_slow_down_their_address_and_neither_others_nor_who_came_in_there_before(desk: Desk):
    mallory, wrong = desk.open("203.0.113.9"), "ha_0123456789ab_" + "A" * 43
    assert desk.open("203.0.113.9").post("/sign-in", data={"key": desk.keys["admin"]}).status_code == 303
    assert {mallory.post("/sign-in", data={"key": "x"}).status_code for _ in range(SIGN_INS.burst + 5)} == {401}
    answers = [mallory.post("/sign-in", data={"key": wrong}) for _ in range(SIGN_INS.burst + 20)]
    assert answers[0].status_code == 401
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert desk.open("203.0.113.9").post("/sign-in", data={"key": desk.keys["admin"]}).status_code == 303
    assert desk.open("203.0.113.10").post("/sign-in", data={"key": desk.keys["ops"]}).status_code == 303


def test_an_address_is_limited_by_itself_and_one_of_ipv6_with_its_network():
    assert derive_subject("203.0.113.9") != derive_subject("203.0.113.10")
    assert derive_subject("2001:db8:0:1::5") == derive_subject("2001:db8:0:1:ffff::1") != derive_subject("2001:db8::5")
    assert derive_subject("testclient") == derive_subject("") == "unknown"


def test_the_frameworks_own_pages_are_not_on_the_origin_of_sessions(desk: Desk):
    for path in ("/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"):
        assert desk.sign_in("admin").get(path).status_code == 404


def test_a_place_that_no_page_gave_is_refused_and_named(desk: Desk):
    wrong = encode_cursor(datetime.now(UTC), "no-uuid")
    assert desk.sign_in("admin").get("/feedback", params={"after": wrong}).status_code == 422


def test_a_form_of_another_site_or_session_does_nothing(desk: Desk):
    path = f"/rollouts/{desk.rows.rollout}/reject"
    admin, csrf = desk.sign_in("admin"), desk.find_csrf("admin")
    other = {"csrf": desk.find_csrf("ops"), "reason": "x"}
    good = {"csrf": csrf, "reason": "x"}
    for fields, headers in (
        ({"reason": "x"}, {}),
        (other, {}),
        (good, {"origin": "https://evil.example"}),
        (good, {"origin": "null"}),
        (good, {"origin": "http://["}),
        (good, {"sec-fetch-site": "cross-site"}),
        (good, {"sec-fetch-site": "same-site"}),
    ):
        answer = admin.post(path, data=fields, headers=headers)
        assert answer.status_code == 403, (fields, headers)
    assert admin.post(path, json=good).status_code == 422
    assert admin.get(path).status_code in (404, 405)
    with desk.sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM deployer.rollouts WHERE state = 'rejected'")) == 0
    sign_in = desk.open().post("/sign-in", data={"key": desk.keys["ops"]}, headers={"origin": "https://evil.example"})
    assert sign_in.status_code == 403
    assert admin.post(path, data=good, headers={"origin": "http://console"}).status_code == 303


def test_pages_cannot_be_framed_and_run_no_script_but_their_own(desk: Desk):
    for page in (desk.sign_in("admin").get("/"), desk.open().get("/sign-in"), desk.sign_in("ops").get("/nowhere")):
        policy = page.headers["content-security-policy"]
        for word in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"):
            assert word in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["x-frame-options"] == "DENY"
        assert not re.search(r"<script(?! src=\"/static/)|<style| style=| on[a-z]+=\"", page.text)


def test_signing_out_ends_the_session_for_whoever_copied_its_cookie(desk: Desk):
    browser = desk.open()
    browser.post("/sign-in", data={"key": desk.keys["admin"]})
    stolen = browser.cookies["heliotrope_session"]
    csrf = browser.get("/settings").text.partition('name="csrf" value="')[2].partition('"')[0]
    assert browser.post("/sign-out", data={"csrf": csrf}).status_code == 303
    thief = desk.open()
    thief.cookies.set("heliotrope_session", stolen)
    assert thief.get("/").status_code == 303


def test_a_disabled_account_is_out_at_the_next_check(desk: Desk):
    ops = desk.sign_in("ops")
    assert ops.get("/rollouts").status_code == 200
    with desk.sessions() as session, session.begin():
        disable_account(session, desk.keys["ops"].split("_")[1])
    desk.setup.client.app.state.keys.refresh()  # type: ignore[attr-defined]
    desk.time.ahead += 31
    assert ops.get("/rollouts").status_code == 303


def test_redis_alone_names_nobody_and_opens_nothing(desk: Desk, stores: Any):
    from redis import Redis

    desk.sign_in("admin")
    with Redis.from_url(stores.redis_url) as redis:
        kept = {key: redis.get(key) for key in redis.scan_iter("heliotrope:console:session:*")}
    assert kept
    account = desk.keys["admin"].split("_")[1].encode()
    for name, value in kept.items():
        assert isinstance(value, bytes)
        assert account not in name + value
        assert b"admin" not in value
        thief = desk.open()
        thief.cookies.set("heliotrope_session", name.decode().rpartition(":")[2])
        assert thief.get("/").status_code == 303


@pytest.mark.parametrize("statement", ["DELETE FROM curator.pairs", "CREATE TABLE curator.mine (x int)"])
def test_the_console_cannot_write_whatever_role_it_has(desk: Desk, statement: str):
    console = desk.app.state.console
    with console.sessions() as session, pytest.raises(Exception, match="read-only transaction"):
        session.execute(text(statement))
