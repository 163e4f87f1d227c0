"""The console: whatever stands in path, query, form and headers, sent by who is signed in or by nobody."""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi.routing import APIRoute
from hypothesis import strategies as st

from tests.hostile.fuzzing import POISON, SECONDS, fuzz
from tests.integration.console.conftest import desk
from tests.integration.console.rows import HOSTILE
from tests.integration.console.scene import Desk
from tests.integration.console.test_doors import fill

__all__ = ["desk"]

pytestmark = pytest.mark.hostile

Request = tuple[str, str, dict[str, str], dict[str, str], dict[str, str]]
"""Method, path, query, form, headers."""
NOT_FUZZED = ("/live", "/sign-out")
"""One has no end, the other would end the session that the rest needs."""
ANSWERS = {200, 303, 307, 400, 401, 403, 404, 405, 409, 413, 422}
MOST_BYTES = 2 * 2**20
"""Of a page: no request decides how long it is."""
SCRIPT = "<script>alert(1)</script>"
FIELDS = {
    "reason": "a test",
    "kind": "pair",
    "decision": "release",
    "stay": "",
    "approval_hash": "0" * 64,
    "vote": "left",
    "next": "/",
    "key": "ha_0123456789ab_" + "A" * 43,
}
HEADERS = ("origin", "sec-fetch-site", "referer", "x-forwarded-for", "accept-language", "content-type", "user-agent")
SHORT = tuple(part for part in POISON if isinstance(part, str) and len(part) < 5_000)
TEXTS = st.sampled_from((*SHORT, HOSTILE, "1", "0", "admin", "active", "user", "pause", "train")) | st.text(max_size=30)


def list_pages(routes: Iterable[Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(method, path, names in the query) of every page."""
    for route in routes:
        if (router := getattr(route, "original_router", None)) is not None:
            yield from list_pages(router.routes)
        elif isinstance(route, APIRoute) and route.path not in NOT_FUZZED:
            names = tuple(field.alias for field in route.dependant.query_params)
            yield from ((method, route.path, names) for method in sorted(route.methods or ()))


def escape(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@st.composite
def draw_request(draw: st.DrawFn, desk: Desk) -> Request:
    pages = sorted(set(list_pages(desk.app.routes)))
    method, template, names = draw(st.sampled_from(pages))
    parts = [
        escape(draw(TEXTS)) if part == "{name}" or (part.startswith("{") and draw(st.booleans())) else fill(desk, part)
        for part in template.split("/")
    ]
    known = FIELDS | {"subject": desk.rows.pair, "comparison": str(desk.rows.comparison)}
    query = {name: draw(TEXTS) for name in (*names, "done", "after") if draw(st.booleans())}
    form = {name: value if draw(st.booleans()) else draw(TEXTS) for name, value in known.items() if draw(st.booleans())}
    headers = {name: draw(TEXTS) for name in HEADERS if not draw(st.integers(0, 9))}
    return method, "/".join(parts), query, form, headers


def encode_header(text: str) -> bytes:
    """What a server lets through: it refuses line ends and zeros itself."""
    return "".join(sign for sign in text if sign not in "\r\n\0").strip().encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("role", ["admin", None], ids=["an admin", "nobody"])
def test_a_page_is_shown_or_refused_and_nothing_in_it_is_the_senders(desk: Desk, role: str | None):
    browser = desk.sign_in(role) if role else desk.open()
    csrf = desk.find_csrf(role) if role else "x"

    def check(request: Request) -> None:
        method, path, query, form, headers = request
        asked = "&".join(f"{name}={escape(value)}" for name, value in query.items())
        sent = {name.encode(): encode_header(value) for name, value in headers.items()}
        typed = {b"content-type": b"application/x-www-form-urlencoded"} if method == "POST" else {}
        content = urlencode({"csrf": csrf} | form, errors="surrogatepass").encode() if method == "POST" else None
        answer = browser.request(method, f"{path}?{asked}", content=content, headers=typed | sent)
        if answer.status_code in (429, 503):
            assert float(answer.headers["retry-after"]) >= 0
        else:
            assert answer.status_code in ANSWERS, f"{request}: {answer.text[:2_000]}"
        assert len(answer.content) < MOST_BYTES
        assert SCRIPT not in answer.text
        assert HOSTILE not in answer.text
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert "'unsafe-inline'" not in answer.headers["content-security-policy"]

    assert fuzz(draw_request(desk), check, SECONDS / 2)
    assert browser.get("/").status_code == (200 if role else 303)
