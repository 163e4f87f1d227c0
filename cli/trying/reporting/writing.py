"""The report's files."""

import json
from pathlib import Path
from typing import Any

from cli.trying.reporting.page import render_page


def write_report(content: dict[str, Any], folder: Path) -> None:
    """Write `report.json` and `report.html`; only their owner may read them, for they hold users' texts."""
    for name, text in (
        ("report.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n"),
        ("report.html", render_page(content)),
    ):
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(text, encoding="utf-8", errors="replace")
