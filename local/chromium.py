"""Chromium without a screen, over its DevTools protocol: loads a page, says what went wrong, takes its picture."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "about:blank",
)
DEADLINE_SECONDS = 60.0
SETTLE_SECONDS = 0.3
"""After a page has loaded: what it then still complains about counts too."""
TALLEST = 16_000
"""Pixels; Chromium's pictures go no further."""


class ChromiumFailed(RuntimeError):
    """It did not start, or did not answer in time."""


def find_chromium() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Loaded:
    """A page as it came out: its console's errors and warnings, exceptions, failed requests, and its size."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Every address that was fetched, the page's own included."""
    width: int = 0
    """Of the content; above the window's, the page scrolls sideways."""
    height: int = 0
    picture: bytes = b""


@contextmanager
def open_chromium(binary: str) -> Iterator["Chromium"]:
    """Yield a browser of its own for a while, with a profile that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="heliotrope-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [binary, *FLAGS, f"--user-data-dir={profile}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            with connect(_wait_for_address(process, Path(profile)), max_size=None, compression=None) as socket:
                yield Chromium(socket)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_address(process: "subprocess.Popen[bytes]", profile: Path) -> str:
    told = profile / "DevToolsActivePort"
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ChromiumFailed(f"Chromium ended with status {process.returncode}")
        if told.exists() and (found := re.fullmatch(r"(\d+)\n(/\S+)\n?", told.read_text())):
            return f"ws://127.0.0.1:{found[1]}{found[2]}"
        time.sleep(0.05)
    raise ChromiumFailed(f"Chromium did not open its port within {DEADLINE_SECONDS:.0f} s")


class Chromium:
    """One browser; pages are loaded one after the other."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._events: list[dict[str, Any]] = []

    @contextmanager
    def open(self, url: str, *, width: int, height: int) -> Iterator["Tab"]:
        """Yield a page to act on, until the context ends."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable", session)
        self._resize(session, width, height)
        self._call("Page.navigate", session, url=url)
        self._wait_for("Page.loadEventFired", session)
        yield Tab(self, session)
        self._call("Target.closeTarget", targetId=target)

    def load(self, url: str, *, width: int, height: int, is_dark: bool = False, whole: bool = True) -> Loaded:
        """Open the page in a window of this size; the picture shows all of it, or with `whole` off the window."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable", session)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self._call("Emulation.setEmulatedMedia", session, features=scheme)
        self._resize(session, width, height)
        self._call("Page.navigate", session, url=url)
        self._wait_for("Page.loadEventFired", session)
        self._listen(SETTLE_SECONDS)
        loaded = Loaded(
            width=int(self._evaluate(session, "document.documentElement.scrollWidth")),
            height=int(self._evaluate(session, "document.documentElement.scrollHeight")),
        )
        if whole:
            self._resize(session, width, min(loaded.height, TALLEST))
        loaded.picture = base64.b64decode(self._call("Page.captureScreenshot", session, format="png")["data"])
        for event in self._events:
            if event.get("sessionId") == session:
                _note(event["method"], event["params"], loaded)
        self._call("Target.closeTarget", targetId=target)
        return loaded

    def _resize(self, session: str, width: int, height: int) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride", session, width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def _evaluate(self, session: str, expression: str) -> Any:
        return self._call("Runtime.evaluate", session, expression=expression)["result"]["value"]

    def _call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (received := self._receive(deadline)) is not None:
            if received.get("id") == self._number:
                if "error" in received:
                    raise ChromiumFailed(f"{method}: {received['error']['message']}")
                return dict(received["result"])
            self._events.append(received)
        raise ChromiumFailed(f"{method} was not answered within {DEADLINE_SECONDS:.0f} s")

    def _wait_for(self, method: str, session: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not any(each.get("method") == method and each.get("sessionId") == session for each in self._events):
            received = self._receive(deadline)
            if received is None:
                raise ChromiumFailed(f"no {method} within {DEADLINE_SECONDS:.0f} s")
            self._events.append(received)

    def _listen(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (received := self._receive(deadline)) is not None:
            self._events.append(received)

    def _receive(self, deadline: float) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self._socket.recv(timeout=max(0.0, deadline - time.monotonic()))))
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise ChromiumFailed("Chromium went away") from error


class Tab:
    """One open page."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session

    def evaluate(self, expression: str) -> Any:
        """Return the expression's value, awaited if it is a promise. Raises: ChromiumFailed, with what it threw."""
        told = self._browser._call(
            "Runtime.evaluate", self._session, expression=expression, awaitPromise=True, returnByValue=True
        )
        if thrown := told.get("exceptionDetails"):
            raise ChromiumFailed(f"{expression}: {thrown.get('exception', {}).get('description', thrown['text'])}")
        return told["result"].get("value")

    def wait_until(self, expression: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Raises: ChromiumFailed, when it does not become true in time."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > deadline:
                raise ChromiumFailed(f"not true within {seconds:.0f} s: {expression}")
            time.sleep(0.05)

    def set_offline(self, offline: bool) -> None:
        conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self._browser._call("Network.emulateNetworkConditions", self._session, offline=offline, **conditions)

    def take_picture(self) -> bytes:
        """Return a PNG of what the window shows."""
        told = self._browser._call("Page.captureScreenshot", self._session, format="png")
        return base64.b64decode(told["data"])

    @property
    def complaints(self) -> list[str]:
        """What went wrong on the page so far."""
        loaded = Loaded()
        self._browser._listen(SETTLE_SECONDS)
        for event in self._browser._events:
            if event.get("sessionId") == self._session:
                _note(event["method"], event["params"], loaded)
        return loaded.complaints


def _note(method: str, params: dict[str, Any], loaded: Loaded) -> None:
    if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
        loaded.complaints.append(params["entry"]["text"])
    elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
        loaded.complaints.append(str([each.get("value") for each in params["args"]]))
    elif method == "Runtime.exceptionThrown":
        loaded.complaints.append(params["exceptionDetails"]["text"])
    elif method == "Network.loadingFailed":
        loaded.complaints.append(f"a request failed: {params.get('blockedReason') or params['errorText']}")
    elif method == "Network.requestWillBeSent":
        loaded.requests.append(params["request"]["url"])
