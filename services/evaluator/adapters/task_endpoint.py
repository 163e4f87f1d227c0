"""A model server as a model of lm-eval's: it writes answers; of probabilities it tells nothing."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lm_eval.api.model import LM

from services.evaluator.adapters.openai_endpoint import OpenAIEndpoint, parse_place
from services.evaluator.ports import TaskJob, TasksFailed
from shared.answers import strip_reasoning

CONCURRENCY = 8
MAX_TOKENS = 256
"""Of an answer, where its task does not say."""


def open_model(job: TaskJob) -> "EndpointModel":
    return EndpointModel(OpenAIEndpoint(parse_place(job.model), job.key), job.seed)


class EndpointModel(LM):  # type: ignore[misc]
    """Asks with the chat's messages, thoughts taken off, and cuts an answer where its task wants it to end."""

    tokenizer_name = "of the server"

    def __init__(self, endpoint: OpenAIEndpoint, seed: int) -> None:
        super().__init__()
        self._endpoint, self._seed = endpoint, seed

    def apply_chat_template(self, chat_history: list[dict[str, Any]], add_generation_prompt: bool = True) -> str:
        return json.dumps(chat_history, ensure_ascii=False)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            answers = list(pool.map(lambda request: self._answer(*request.args), requests))
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, answer)
        return answers

    def _answer(self, context: str, how: dict[str, Any]) -> str:
        limit = int(how.get("max_gen_toks") or MAX_TOKENS)
        greedy = not how.get("do_sample")
        reply = self._endpoint.answer(json.loads(context), max_tokens=limit, seed=self._seed, greedy=greedy)
        answer = strip_reasoning(reply.text or "")
        ends = how.get("until") or []
        for end in [ends] if isinstance(ends, str) else ends:
            answer = answer.split(end)[0] if end else answer
        return answer

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        raise TasksFailed("a server keeps its probabilities to itself: give it tasks that are answered in words")

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        raise TasksFailed("a server keeps its probabilities to itself: give it tasks that are answered in words")
