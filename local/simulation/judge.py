"""A judge of OpenAI's protocol that knows the simulated users' taste, as a server on this machine."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local.simulation.prompts import Question
from local.simulation.users import Vote, count_met

HOST, MODEL = "127.0.0.1", "taste"
LARGEST_BODY = 4 << 20
PART = re.compile(r"\[([0-9a-f]{12}) (conversation|first answer|second answer)\]\n(.*?)\n\[\1 end\]", re.DOTALL)
WINNERS: Mapping[Vote, str] = {"left": "first", "right": "second", "tie": "tie"}


def judge(questions: Mapping[str, Question], request: str) -> Vote:
    """Judge what a judge is asked (`shared.rubric`): the answer that meets more of its user's wishes wins.

    `questions`: by their text. A question that is none of these is a tie.
    """
    parts = {name: text for _, name, text in PART.findall(request)}
    question = next((one for text, one in questions.items() if text in parts["conversation"]), None)
    if question is None:
        return "tie"
    first, second = (count_met(question, parts[f"{name} answer"]) for name in ("first", "second"))
    return "tie" if first == second else "left" if first > second else "right"


def serve_judge(questions: Sequence[Question]) -> AbstractContextManager[str]:
    """Serve a judge for these questions until the context ends; yields its place, as `--judge` takes it."""
    known = {question.text: question for question in questions}
    return serve(lambda request: json.dumps({"winner": WINNERS[judge(known, request)]}))


@contextmanager
def serve(answer: Callable[[str], str]) -> Iterator[str]:
    """Serve chat completions that `answer` the last message, until the context ends; yields their place."""
    with ThreadingHTTPServer((HOST, 0), partial(_Handler, answer)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/v1#{MODEL}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, answer: Callable[[str], str], *arguments: Any) -> None:
        self.answer = answer  # before the request is handled, which the base's constructor does
        super().__init__(*arguments)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), LARGEST_BODY)))
        message = {"role": "assistant", "content": self.answer(asked["messages"][-1]["content"])}
        body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
