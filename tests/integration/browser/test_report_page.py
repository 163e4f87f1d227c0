"""The report's page in a real browser: no complaint in the console, no request, no scrolling sideways."""

import copy
import http.server
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from local.chromium import Chromium
from local.demo.page.render import render_page

KEPT = Path(__file__).parents[3] / "docs" / "demo" / "report.json"
WINDOWS = {"desktop": (1280, 900), "phone": (360, 780)}


def write_page(folder: Path, report: dict[str, Any]) -> str:
    page = folder / "report.html"
    page.write_text(render_page(report), encoding="utf-8")
    return page.as_uri()


def stretch(value: Any) -> Any:
    """The same report with texts that no line can hold, and that try to run or to fetch something."""
    match value:
        case dict():
            return {key: each if key in ("name", "scenario") else stretch(each) for key, each in value.items()}
        case list():
            return [stretch(each) for each in value]
        case str():
            return f"{'x' * 300}<script>fetch('http://127.0.0.1:9/')</script><img src='http://127.0.0.1:9/a.png'>"
    return value


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("window", list(WINDOWS))
def test_the_kept_report_loads_without_a_complaint(chromium: Chromium, tmp_path: Path, window: str, is_dark: bool):
    width, height = WINDOWS[window]
    url = write_page(tmp_path, json.loads(KEPT.read_text()))

    loaded = chromium.load(url, width=width, height=height, is_dark=is_dark)

    assert loaded.complaints == []
    assert [each for each in loaded.requests if not each.startswith("data:")] == [url]
    assert loaded.width <= width
    assert loaded.height > 3 * height
    assert loaded.picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("window", list(WINDOWS))
def test_hostile_texts_neither_run_nor_fetch_nor_widen_the_page(chromium: Chromium, tmp_path: Path, window: str):
    width, height = WINDOWS[window]
    report = stretch(copy.deepcopy(json.loads(KEPT.read_text())))
    url = write_page(tmp_path, report)

    loaded = chromium.load(url, width=width, height=height, whole=False)

    assert loaded.complaints == []
    assert [each for each in loaded.requests if not each.startswith("data:")] == [url]
    assert loaded.width <= width


def test_it_also_loads_from_a_server_without_asking_for_more(chromium: Chromium, tmp_path: Path):
    write_page(tmp_path, json.loads(KEPT.read_text()))
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, format: str, *args: Any) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        loaded = chromium.load(f"http://127.0.0.1:{server.server_port}/report.html", width=1280, height=900)
        server.shutdown()

    assert loaded.complaints == []
    assert asked == ["/report.html"]


def test_this_browser_does_notice_a_page_that_is_not_right(chromium: Chromium, tmp_path: Path):
    """The checks above can fail: a blocked script, an exception and a wide block are all seen."""
    page = tmp_path / "wrong.html"
    page.write_text(
        "<meta http-equiv='Content-Security-Policy' content=\"script-src 'sha256-AAAA'\"><script>1</script>"
        "<div style='width: 900px'>wide</div><img src='missing.png'>"
    )
    loaded = chromium.load(page.as_uri(), width=360, height=780)

    assert any("Content Security Policy" in complaint for complaint in loaded.complaints)
    assert any("ERR_FILE_NOT_FOUND" in complaint for complaint in loaded.complaints)
    assert loaded.width >= 900

    page.write_text("<script>console.error('oh'); throw new Error('no')</script>")
    complaints = chromium.load(page.as_uri(), width=360, height=780).complaints
    assert len(complaints) >= 2
