"""The browser client and its demo page in Chromium, against a gateway, an ingest, Postgres and a broker."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from local.chat_page import create_page
from local.chromium import Chromium, Tab
from local.stack.stack import Stack
from shared.bus import decode
from shared.bus.kafka import KafkaBusConsumer
from shared.events import FeedbackReceived
from tests.builders import make_route, make_routing
from tests.integration.routing_files import write_routing

HOSTILE = "<img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>"
ANSWERS = (
    "That sounds like a loose bulb. Switch the lamp off, let it cool, and screw the bulb in firmly. "
    "If it still flickers, send us your order number and we will replace it.",
    "Please try another bulb first. If the new one flickers too, the fault is in the lamp, "
    "and we will send you a new one.",
)
PAGE_IS_READY = "document.querySelector('#send:enabled')"
WAITING = "Object.keys(localStorage).filter((key) => key.startsWith('heliotrope.feedback.'))"
DESKTOP, PHONE = (1180, 860), (390, 844)

MAKE_STORAGE = """() => {
    const items = new Map();
    return {
        getItem: (key) => items.get(key) ?? null,
        setItem: (key, value) => items.set(key, value),
        removeItem: (key) => items.delete(key),
        key: (index) => [...items.keys()][index] ?? null,
        get length() { return items.size; },
    };
}"""
"""Makes a page's own storage, in the shape of the browser's."""


class ModelServer:
    """Answers to the same question differ in turn; whoever says 'hostile' gets a hostile answer."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.app.add_api_route("/v1/chat/completions", self.complete, methods=["POST"])
        self.asked = 0

    async def complete(self, request: Request) -> StreamingResponse:
        body = await request.json()
        text = HOSTILE if "hostile" in body["messages"][-1]["content"] else ANSWERS[self.asked % len(ANSWERS)]
        self.asked += 1
        return StreamingResponse(self.stream(text), media_type="text/event-stream")

    async def stream(self, text: str) -> AsyncIterator[str]:
        for word in text.split(" "):
            yield self.chunk({"content": f"{word} "})
            await asyncio.sleep(0.002)
        yield self.chunk({}, "stop")
        yield "data: [DONE]\n\n"

    def chunk(self, delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"


@contextmanager
def serve(app: Any, port: int = 0) -> Iterator[int]:
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield int(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join(20)


class RunningChat:
    def __init__(self, stack: Stack, page_url: str) -> None:
        self.stack, self.page_url = stack, page_url

    def read_feedback(self, event_ids: list[str]) -> dict[str, FeedbackReceived]:
        """What of these reached the topic. One that was sent again says the same, or the test fails."""
        connections = self.stack.connections
        topic = connections.topic_prefix + FeedbackReceived.topic
        consumer = KafkaBusConsumer(connections.kafka_bootstrap_servers, [topic], None, client_id="test")
        found: dict[str, FeedbackReceived] = {}
        deadline = time.monotonic() + 20
        while set(found) != set(event_ids) and time.monotonic() < deadline:
            for record in consumer.poll(0.5):
                event: Any = decode(record)
                if str(event.event_id) in event_ids:
                    known = found.setdefault(str(event.event_id), event)
                    assert known.feedback == event.feedback
        consumer.close()
        return found


@pytest.fixture(scope="module")
def chat(
    chromium: Chromium, find_port_base: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningChat]:
    home = tmp_path_factory.mktemp("browser") / "home"
    home.parent.chmod(0o755)
    with serve(ModelServer().app) as model_port:
        server = f"http://127.0.0.1:{model_port}/v1"
        stack = Stack(
            home,
            find_port_base(),
            only=("postgres", "broker", "ingest", "gateway"),
            throwaway=True,
            environment={"HELIOTROPE_GATEWAY_ALLOWED_BASE_URLS": server},
        )
        write_routing(stack, make_routing(make_route(base_url=server)))
        stack.up()
        try:
            page = create_page(stack.url("gateway"), stack.url("ingest"), stack.credentials["frontend"])
            with serve(page, stack.layout.port("chat-page")):
                yield RunningChat(stack, stack.url("chat-page"))
        finally:
            stack.down()


@pytest.fixture
def tab(chromium: Chromium, chat: RunningChat) -> Iterator[Tab]:
    with chromium.open(chat.page_url, width=DESKTOP[0], height=DESKTOP[1]) as tab:
        tab.wait_until(PAGE_IS_READY)
        tab.evaluate(
            "import('/heliotrope.js').then(({ Feedback }) => { window.said = [];"
            " const tell = Feedback.prototype.dispatchEvent;"
            " Feedback.prototype.dispatchEvent = function (event) {"
            "   window.said.push(event.detail); return tell.call(this, event); } })"
        )
        yield tab


def ask(tab: Tab, question: str = "The lamp I bought flickers. What now?") -> None:
    before = tab.evaluate("document.querySelectorAll('.answer').length")
    tab.evaluate(f"document.querySelector('#question').value = {json.dumps(question)}")
    tab.evaluate("document.querySelector('#ask').requestSubmit()")
    tab.wait_until(
        f"document.querySelectorAll('.answer').length > {before} && document.querySelector('.answer:last-child .bar *')"
        " && !document.querySelector('.thinking')"
    )


def click(tab: Tab, selector: str) -> None:
    tab.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].at(-1).click()")


def list_stored(tab: Tab, count: int) -> list[str]:
    stored = "window.said.filter(({ state }) => state === 'stored')"
    tab.wait_until(f"{stored}.length === {count}")
    return [str(each["eventId"]) for each in tab.evaluate(stored)]


def test_every_kind_of_feedback_reaches_the_topic_under_the_answers_id(chat: RunningChat, tab: Tab):
    ask(tab)
    click(tab, ".thumb.up")
    click(tab, ".stars .icon:nth-child(4)")
    click(tab, ".report")
    tab.evaluate("document.querySelector('.sheet select').value = 'wrong'")
    tab.evaluate("document.querySelector('.sheet textarea').value = 'The bulb is soldered in.'")
    click(tab, ".sheet .primary")
    click(tab, ".edit")
    tab.evaluate("document.querySelector('.sheet textarea').value = 'Send us your order number.'")
    click(tab, ".sheet .primary")
    click(tab, ".again")
    events = chat.read_feedback(list_stored(tab, 5))
    said = {type(event.feedback).__name__: event for event in events.values()}
    assert set(said) == {"Thumb", "Rating", "Complaint", "Edit", "Regenerate"}
    assert len({event.interaction_id for event in events.values()}) == 1
    assert len({event.user for event in events.values()}) == 1
    regenerated: Any = said["Regenerate"].feedback
    assert regenerated.replacement_interaction_id != said["Regenerate"].interaction_id
    assert tab.complaints == []


def test_one_of_two_answers_is_chosen(chat: RunningChat, tab: Tab):
    click(tab, "#compare")
    ask(tab)
    assert tab.evaluate("document.querySelectorAll('.answers.two .answer').length") == 2
    click(tab, ".better-1")
    [event] = chat.read_feedback(list_stored(tab, 1)).values()
    choice: Any = event.feedback
    assert choice.preferred_interaction_id == choice.other_interaction_id
    assert choice.presented_order == [event.interaction_id, choice.other_interaction_id]


def test_what_is_said_offline_waits_through_a_reload_and_counts_once(chat: RunningChat, tab: Tab):
    ask(tab)
    tab.set_offline(True)
    click(tab, ".thumb.down")
    tab.wait_until("document.querySelector('.state.queued')")
    tab.wait_until("document.querySelector('#connection').textContent === 'offline, 1 to send'")
    [waiting] = tab.evaluate(f"{WAITING}.map((key) => JSON.parse(localStorage[key]))")
    tab.set_offline(False)
    tab.evaluate("location.reload()")
    tab.wait_until(f"{PAGE_IS_READY} && {WAITING}.length === 0")
    [event] = chat.read_feedback([waiting["event"]["event_id"]]).values()
    assert type(event.feedback).__name__ == "Thumb"


def test_the_queue_is_bounded_and_says_what_it_dropped(tab: Tab):
    states = tab.evaluate(
        """import('/heliotrope.js').then(({ Feedback }) => {
            const storage = (MAKE_STORAGE)();
            const feedback = new Feedback({ ingestUrl: 'http://127.0.0.1:9', storage, maxQueued: 2 });
            const answer = { interactionId: 'a', token: 'b' }, dropped = [];
            feedback.addEventListener('change', ({ detail: { state, eventId } }) => {
                if (state === 'dropped') dropped.push(eventId);
            });
            const first = feedback.thumb(answer, 'up');
            feedback.thumb(answer, 'down');
            feedback.rating(answer, 3);
            return [feedback.waiting, dropped.length, dropped[0] === first];
        })""".replace("MAKE_STORAGE", MAKE_STORAGE)
    )
    assert states == [2, 1, True]


def test_a_hostile_answer_stays_text(tab: Tab):
    ask(tab, "be hostile <img src=y onerror='window.hacked = 1'>")
    assert tab.evaluate("document.querySelector('.answer p').textContent.trim()") == HOSTILE
    assert tab.evaluate("document.querySelectorAll('#talk img, #talk script').length") == 0
    assert tab.evaluate("window.hacked") is None


@pytest.mark.parametrize("width, height", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_fits_its_window(chromium: Chromium, chat: RunningChat, tmp_path: Path, width: int, height: int):
    with chromium.open(chat.page_url, width=width, height=height) as tab:
        tab.wait_until(PAGE_IS_READY)
        ask(tab)
        click(tab, ".thumb.up")
        tab.wait_until("document.querySelector('.state.stored')")
        click(tab, "#compare")
        ask(tab, "And if a new bulb flickers as well?")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        (tmp_path / "page.png").write_bytes(tab.take_picture())
