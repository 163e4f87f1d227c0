"""Somebody who looks at every page of the console while the loop turns."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

LINK = re.compile(r'href="(/(?:rollouts|evaluations|training|datasets|conversations|pairs)/[^"?#]+)"')
PAGES = (
    "/", "/rollouts", "/evaluations", "/feedback", "/pairs", "/review", "/datasets", "/drift", "/training", "/audit",
    "/health", "/settings",
)  # fmt: skip
KINDS = {"rollouts", "evaluations", "training", "datasets", "conversations", "pairs"}


@dataclass
class Visitor:
    """Signs in as the stack's admin, and follows the first link of each kind on each page."""

    home: Path
    url: str
    answers: dict[str, int] = field(default_factory=dict)
    """Page -> its status, the worst one that was seen."""
    kinds: set[str] = field(default_factory=set)
    """Of single things that a page was opened of."""

    def visit_until(self, stop: threading.Event) -> None:
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False) as browser:
            while not stop.wait(5):
                try:
                    self._visit_all(browser)
                except (httpx.TransportError, FileNotFoundError):
                    continue  # the stack is starting, or ending

    def _visit_all(self, browser: httpx.Client) -> None:
        if not browser.cookies:
            key = json.loads((self.home / "accounts.json").read_text())["admin"]
            if browser.post("/sign-in", data={"key": key}).status_code != httpx.codes.SEE_OTHER:
                return  # the deployer has yet to learn of the account
        for path in PAGES:
            page = self._visit(browser, path)
            for kind in KINDS:
                if link := next((each for each in LINK.findall(page) if each.startswith(f"/{kind}/")), None):
                    self._visit(browser, link)
                    self.kinds.add(kind)

    def _visit(self, browser: httpx.Client, path: str) -> str:
        answer = browser.get(path)
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # while services start and end
            return ""
        self.answers[path] = max(answer.status_code, self.answers.get(path, 0))
        return answer.text


@contextmanager
def visiting(visitor: Visitor) -> Iterator[Visitor]:
    """Have somebody look while the context lasts."""
    stop = threading.Event()
    thread = threading.Thread(target=visitor.visit_until, args=(stop,))
    thread.start()
    try:
        yield visitor
    finally:
        stop.set()
        thread.join()
