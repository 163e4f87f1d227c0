"""Webhooks are told of each decision that is needed: once, signed, and again until they took it."""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from services.deployer.adapters.webhooks import WebhookPosts
from services.deployer.handlers.notifying import Delivery
from services.deployer.settings import DeployerSettings
from tests.integration.deployer.scene import Setup
from tests.integration.deployer.test_guardrails import look, serve, usual

SECRET = "what the receiver knows too"


@dataclass
class Receiver:
    """A webhook on a socket; answers with what `statuses` say in turn, then 200."""

    statuses: list[int] = field(default_factory=list)
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    location: str = ""

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                if receiver.location:
                    self.send_header("location", receiver.location)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=hush"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.heard]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def deliver(setup: Setup, receiver: Receiver) -> Iterator[Callable[[], int]]:
    """Delivers what is due, by a deployer that has this one webhook."""
    setup.configure(
        webhook_urls=SecretStr(receiver.url),
        webhook_hosts=["127.0.0.1"],
        webhook_secret=SecretStr(SECRET),
        console_url="https://loop.example/",
    )
    posts = WebhookPosts(2.0)

    def deliver() -> int:
        return Delivery(setup.sessions, setup.rollouts.settings, posts.post, setup.clock).deliver()

    yield deliver
    posts.close()


def notices(setup: Setup) -> list[dict[str, Any]]:
    return list(setup.call("GET", "/v1/notices", role="ops").json()["notices"])


def test_an_approval_that_is_needed_is_told_once_with_a_link_and_a_signature(
    setup: Setup, receiver: Receiver, deliver: Callable[[], int]
):
    rollout = setup.open_rollout()
    for _ in range(3):
        setup.reconciler.reconcile()
        deliver()
    [(headers, raw)] = receiver.heard
    body = json.loads(raw)
    assert body["text"] == "Version 2 passed its gates against 1 and waits for an approval."
    assert body["link"] == f"https://loop.example/rollouts/{rollout['rollout_id']}"
    assert body["id"] == headers["x-heliotrope-notice-id"]
    signed = f"{headers['x-heliotrope-timestamp']}.".encode() + raw
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["x-heliotrope-signature"] == f"v1={expected}"
    [logged] = notices(setup)
    assert (logged["attempts"], logged["last_result"], logged["delivered_at"] is not None) == (1, "status 200", True)
    assert "hush" not in json.dumps(logged)


def test_what_a_webhook_did_not_take_is_sent_again_with_growing_pauses_and_the_same_id(
    setup: Setup, receiver: Receiver, deliver: Callable[[], int]
):
    receiver.statuses = [500, 429, 302]
    receiver.location = receiver.url
    setup.open_rollout()
    setup.reconciler.reconcile()
    for pause, taken in ((4.9, 0), (0.2, 0), (10.1, 0), (20.1, 1), (3_600, 0)):
        deliver_now = deliver()
        setup.clock.pass_seconds(pause)
        assert deliver_now in (0, 1), taken
    assert len(receiver.heard) == 4
    assert len({headers["x-heliotrope-notice-id"] for headers, _ in receiver.heard}) == 1
    assert notices(setup)[0]["last_result"] == "status 200"


def test_a_webhook_that_is_away_for_days_is_given_up_and_the_log_says_so(
    setup: Setup, receiver: Receiver, deliver: Callable[[], int]
):
    receiver.close()
    setup.open_rollout()
    setup.reconciler.reconcile()
    deliver()
    assert notices(setup)[0]["last_result"] == "ConnectError"
    setup.clock.pass_seconds(3 * 86_400 + 1)
    deliver()
    assert notices(setup)[0]["given_up_at"] is not None
    setup.clock.pass_seconds(86_400)
    deliver()
    assert notices(setup)[0]["attempts"] == 2


def test_a_deployer_that_dies_while_it_delivers_leaves_the_notice_to_the_next(
    setup: Setup, receiver: Receiver, deliver
):
    setup.open_rollout()
    setup.reconciler.reconcile()

    def die(*_: Any) -> tuple[bool, str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Delivery(setup.sessions, setup.rollouts.settings, die, setup.clock).deliver()
    assert deliver() == 0  # it is the other one's still
    setup.clock.pass_seconds(401)
    assert deliver() == 1


def test_each_decision_has_one_notice_and_none_holds_what_somebody_wrote(
    setup: Setup, receiver: Receiver, deliver: Callable[[], int]
):
    rollout = setup.start_canary()
    events: list[Any] = []
    for number in range(120):
        events += setup.make_vote(rollout, canary=False, user=f"{number:03}-champion", up=number % 5 > 0)
        events.append(setup.make_vote(rollout, canary=True, user=f"{number:03}-canary", up=True)[0])
    setup.hear(*events)
    setup.clock.pass_seconds(11)
    look(setup, rollout), look(setup, rollout)
    deliver()
    assert [body["kind"] for body in receiver.bodies] == ["held"]
    serve(setup, rollout, 60, champion=usual, canary=lambda number: {"up": False}, tag="v")
    look(setup, rollout), look(setup, rollout)
    setup.open_rollout()
    setup.reconciler.reconcile()
    deliver()
    assert [body["kind"] for body in receiver.bodies] == ["held", "rolled_back", "approval_needed"]
    told = json.dumps(receiver.bodies)
    assert "Open Orders" not in told
    assert "71%" not in told  # nor what gates say


def test_what_an_admin_does_themselves_is_no_news(setup: Setup, receiver: Receiver, deliver: Callable[[], int]):
    rollout = setup.start_canary()
    setup.call("POST", f"/v1/rollouts/{rollout['rollout_id']}/promote", body={"reason": "sure"})
    setup.call("POST", "/v1/rollback", body={"reason": "second thoughts"})
    deliver()
    assert receiver.heard == []


def test_a_policy_and_a_second_admin_are_told_of(setup: Setup, receiver: Receiver, deliver: Callable[[], int]):
    setup.configure(approvals=2)
    setup.sign_in("ada")
    body = {"least_effect": 0.55, "per_week": 2, "veto_seconds": 60.0, "reason": "summer"}
    assert setup.call("POST", "/v1/approval-policy", role="ada", body=body).status_code == 201
    rollout = setup.open_rollout(low=0.6)
    look(setup, rollout)
    deliver()
    setup.clock.pass_seconds(61)
    look(setup, rollout), look(setup, rollout)
    deliver()
    assert [each["kind"] for each in receiver.bodies] == ["policy_approves", "second_approval_needed"]
    assert "Reject or pause it to veto" in receiver.bodies[0]["text"]


def test_slack_is_sent_what_it_takes(setup: Setup, receiver: Receiver, deliver: Callable[[], int]):
    setup.configure(webhook_urls=SecretStr(f"slack+{receiver.url}, {receiver.url}"))
    rollout = setup.open_rollout()
    setup.reconciler.reconcile()
    assert deliver() == 2
    [slack] = [body for body in receiver.bodies if "id" not in body]
    link = f"https://loop.example/rollouts/{rollout['rollout_id']}"
    assert slack == {"text": f"Version 2 passed its gates against 1 and waits for an approval. <{link}|Look at it>"}


def test_a_webhook_that_left_the_settings_is_not_called(setup: Setup, receiver: Receiver, deliver: Callable[[], int]):
    setup.open_rollout()
    setup.reconciler.reconcile()
    setup.configure(webhook_urls=SecretStr(""))
    assert deliver() == 0
    assert (receiver.heard, notices(setup)[0]["last_result"]) == ([], "no such webhook in the settings")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://hooks.example.evil.com/x",
        "https://hooks.example@evil.com/x",
        "https://user:word@hooks.example/x",
        "file:///etc/passwd",
        "slack+gopher://hooks.example/",
    ],
)
def test_only_hosts_that_the_settings_allow_are_called(url: str):
    with pytest.raises(ValueError, match="webhook_urls: ") as refused:
        DeployerSettings(webhook_urls=SecretStr(url), webhook_hosts="hooks.example, hooks.slack.com")
    assert "meta-data" not in str(refused.value)
