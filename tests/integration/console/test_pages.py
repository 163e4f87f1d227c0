"""Every page opens, and shows what users wrote as text and as nothing else."""

import re

from tests.integration.console.rows import HOSTILE, MARK
from tests.integration.console.scene import Desk

MOST_BYTES = 300_000


def test_every_page_opens_shows_hostile_text_as_text_and_is_small(desk: Desk):
    admin = desk.sign_in("admin")
    for path in desk.rows.list_paths():
        page = admin.get(path)
        assert page.status_code == 200, (path, page.text[-3000:])
        assert len(page.content) < MOST_BYTES, path
        assert "<script>document" not in page.text, path
        assert "<img src=x" not in page.text, path
        assert "<svg onload" not in page.text, path
        assert HOSTILE not in page.text, path
        assert not re.search(r" (?:on\w+|style)=", re.sub(r"&[^;]*;|[^<>]*h05t1le[^<>]*", "", page.text)), path
        assert page.headers["content-security-policy"].count("unsafe") == 0
        assert page.headers["cache-control"] == "no-store"
    assert MARK in admin.get("/feedback").text
