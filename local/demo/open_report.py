"""Showing the report to whoever sits in front of the demo, if anybody does."""

import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path


def has_screen(environment: Mapping[str, str], *, is_terminal: bool, platform: str = sys.platform) -> bool:
    """Return whether somebody watches with a desktop at hand: never in CI, nor where the output goes to a file."""
    if not is_terminal or environment.get("CI"):
        return False
    return platform == "darwin" or bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def open_page(page: Path) -> None:
    """Have the desktop's browser show the page; without one, nothing happens."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) is not webbrowser.GenericBrowser:  # that one runs in the terminal, and would take it over
        browser.open(page.as_uri())
