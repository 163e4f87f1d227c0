"""The console in a real browser: every page in both colours and both sizes, and what people do with their keys."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from local.chromium import Chromium, Tab
from local.connections import Connections
from shared.tables.deployer import Rollout
from tests.integration.console.pretty import add_pretty_rows
from tests.integration.console.rows import MARK
from tests.integration.console.scene import Desk, open_desk
from tests.integration.deployer.scene import Setup
from tests.integration.gateway.model_server import serve

WINDOWS = {"desktop": (1280, 820), "phone": (360, 780)}
PICTURES = os.environ.get("HELIOTROPE_PICTURES", "")
"""A folder: pictures of every page are put there."""


@pytest.fixture
def shop(database_url: str, stores: Connections, tmp_path: Path) -> Iterator[Desk]:
    setup = Setup(database_url, tmp_path, "http://127.0.0.1:1/v1")
    with open_desk(setup, database_url, stores.redis_url, add_pretty_rows) as desk:
        yield desk
    setup.close()


def sign_in(chromium: Chromium, desk: Desk, url: str, role: str = "admin") -> None:
    with chromium.open(f"{url}/sign-in", width=1280, height=820) as tab:
        tab.evaluate(f"document.getElementById('key').value = {json.dumps(desk.keys[role])}")
        tab.evaluate("document.querySelector('form').submit()")
        tab.wait_until("!location.pathname.startsWith('/sign-in')")


def press(tab: Tab, key: str) -> None:
    tab.evaluate(
        f"document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: {json.dumps(key)}, bubbles: true}}))"
    )


def name_page(path: str) -> str:
    parts = path.partition("?")[0].strip("/").split("/")
    return (parts[0] or "overview") + ("-one" if len(parts) > 1 else "")


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("window", list(WINDOWS))
def test_every_page_fits_the_window_without_a_complaint(shop: Desk, chromium: Chromium, window: str, is_dark: bool):
    width, height = WINDOWS[window]
    with serve(shop.app) as url:
        loaded = chromium.load(f"{url}/sign-in", width=width, height=height, is_dark=is_dark)
        assert loaded.complaints == []
        sign_in(chromium, shop, url)
        for path in shop.rows.list_paths():
            loaded = chromium.load(f"{url}{path}", width=width, height=height, is_dark=is_dark)
            assert loaded.complaints == [], path
            assert loaded.width <= width, path
            assert all(each.startswith((url, "data:")) for each in loaded.requests), path
            if PICTURES and "?" not in path:
                colour = "dark" if is_dark else "light"
                (Path(PICTURES) / f"{name_page(path)}-{window}-{colour}.png").write_bytes(loaded.picture)


def test_hostile_text_neither_runs_nor_fetches_nor_widens_a_page(desk: Desk, chromium: Chromium):
    with serve(desk.app) as url:
        sign_in(chromium, desk, url)
        for path in desk.rows.list_paths():
            with chromium.open(f"{url}{path}", width=360, height=780) as tab:
                assert tab.complaints == [], path
                assert tab.evaluate("document.title") != MARK, path
                assert tab.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_twenty_pairs_are_rated_by_keys_alone(shop: Desk, chromium: Chromium):
    with serve(shop.app) as url:
        sign_in(chromium, shop, url, "rater")
        with chromium.open(f"{url}/rating", width=1280, height=820) as tab:
            for number in range(20):
                tab.wait_until("document.querySelector('[name=comparison]')", seconds=20)
                shown = tab.evaluate("document.querySelector('[name=comparison]').value")
                press(tab, ["ArrowLeft", "2", " ", "ArrowRight"][number % 4])
                tab.wait_until(
                    f"document.readyState == 'complete' && !document.body.innerHTML.includes({json.dumps(shown)})"
                )
            assert tab.complaints == []
            assert tab.evaluate("document.querySelector('progress').value") == 20
    with shop.sessions() as session:
        votes = session.execute(
            text("SELECT vote, count(*) FROM evaluator.comparisons WHERE vote IS NOT NULL GROUP BY vote")
        )
        assert dict(votes.all()) == {"left": 5, "right": 10, "tie": 5}


def test_an_admin_aborts_after_reading_what_follows(shop: Desk, chromium: Chromium):
    with serve(shop.app) as url:
        sign_in(chromium, shop, url)
        with chromium.open(f"{url}/rollouts/{shop.rows.rollout}", width=360, height=780) as tab:
            tab.evaluate("[...document.querySelectorAll('summary')].find((each) => each.innerText == 'Abort').click()")
            told = tab.evaluate("document.querySelector('details[open] p').innerText")
            assert "all users are served by version 1" in told
            tab.wait_until("document.activeElement.name == 'reason'")
            tab.evaluate("document.querySelector('details[open] button').click()")
            assert tab.evaluate("location.search") == ""  # the browser asks for the reason first
            tab.evaluate("document.activeElement.value = 'users complain'")
            tab.evaluate("document.querySelector('details[open] button').click()")
            tab.wait_until("location.search == '?done=abort'")
            assert "Aborted" in tab.evaluate("document.querySelector('[role=status]').innerText")
    with shop.sessions() as session:
        rollout = session.scalars(select(Rollout)).one()
        assert rollout.state == "aborted"
        assert rollout.summary == "users complain"
    entry = shop.setup.call("GET", "/v1/audit?limit=1", role="ops").json()["entries"][0]
    assert (entry["action"], entry["actor"]) == ("abort", "Anna (admin)")


def test_a_page_follows_the_loop_without_being_loaded_again(shop: Desk, chromium: Chromium):
    with serve(shop.app) as url:
        sign_in(chromium, shop, url)
        with chromium.open(f"{url}/rollouts/{shop.rows.rollout}", width=1280, height=820) as tab:
            tab.wait_until("document.getElementById('beat').classList.contains('on')")
            tab.evaluate("window.untouched = true")
            time.sleep(0.5)
            body = {"reason": "the oven burns"}
            assert shop.setup.call("POST", f"/v1/rollouts/{shop.rows.rollout}/pause", body=body).status_code == 200
            tab.wait_until("document.getElementById('rollout').innerText.includes('the oven burns')", seconds=20)
            assert tab.evaluate("window.untouched") is True
