"""Answers from servers, each kept as soon as it is there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from services.evaluator.adapters.cached_generation import derive_prompt_key
from services.evaluator.adapters.kept_replies import KeptReplies
from services.evaluator.adapters.openai_endpoint import OpenAIEndpoint, parse_place
from services.evaluator.handlers.asking import ask_all
from services.evaluator.handlers.standalone.answers import list_job_prompts
from services.evaluator.handlers.standalone.order import How, Order
from services.evaluator.ports import JobPrompt, Replies, Reply

HOW = ("max_new_tokens", "sampling", "seed")


@dataclass(frozen=True)
class EndpointAsker:
    """Asks servers for what they have not answered yet under the same name and way of asking; `keys` by side."""

    folder: Path
    keys: Mapping[str, str]

    def answer(self, side: str, place: str, order: Order, beat: Callable[[int, int], None]) -> Replies:
        kept = KeptReplies.open(self.folder, {"endpoint": place} | {name: getattr(order.how, name) for name in HOW})
        names = {prompt.prompt_hash: derive_prompt_key(prompt) for prompt in list_job_prompts(order)}
        missing = {
            each.prompt_hash: each for each in list_job_prompts(order) if names[each.prompt_hash] not in kept.entries
        }
        done = len(names) - len(missing)

        def keep(prompt_hash: str, reply: Reply) -> None:
            nonlocal done
            done += 1
            kept.add({names[prompt_hash]: reply})

        endpoint = OpenAIEndpoint(parse_place(place), self.keys.get(side, ""))
        try:
            ask_all(missing, lambda key: _ask(endpoint, missing[key], order.how), keep, lambda: beat(done, len(names)))
        finally:
            endpoint.close()
        return {side: {key: msgspec.convert(kept.entries[name], Reply) for key, name in names.items()}}


def _ask(endpoint: OpenAIEndpoint, prompt: JobPrompt, how: How) -> Reply:
    return endpoint.answer(
        prompt.messages,
        max_tokens=how.max_new_tokens,
        seed=how.seed,
        greedy=how.sampling == "greedy",
        tools=prompt.tools,
    )
