"""The curator's prompts are what the model saw, in one form, and those of release 0.1.0 become so too."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from services.curator.app.handlers import Sweeper
from services.curator.pairs.domain.rules import CHOICE
from shared.conversation import canonicalize
from shared.events import InteractionRecorded
from shared.feedback import calculate_content_hash
from shared.tables.curator import Interaction, Pair, Prompt
from tests.builders import MORNING, make_choice, make_feedback, make_interaction
from tests.integration.curator.shop import Curator, adopted, asked, chose, open_curator, read_files

TOOL = {"type": "function", "function": {"name": "order_lookup", "parameters": {"type": "object"}}}
QUESTION = "Where is the lamp? It should be here."
ANSWERS = ("It is on its way and comes on Monday.", "No idea at all, sorry, my dear friend.")


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path) as curator:
        yield curator


def answered(number: int, messages: list[dict[str, Any]], **changes: Any) -> InteractionRecorded:
    return make_interaction(number, answer=ANSWERS[number % 2], messages=messages, user="ines", **changes)


def test_the_same_question_in_two_notations_is_one_prompt_and_makes_a_pair(curator: Curator) -> None:
    plain = answered(1, [{"role": "user", "content": QUESTION}])
    parts = answered(2, [{"role": "user", "content": [{"type": "text", "text": f"{QUESTION} "}]}])
    curator.hear(plain, parts, make_feedback(9, 1, make_choice(1, 2), user="ines"))
    (prompt,) = curator.read(Prompt)
    (pair,) = curator.read(Pair)
    assert prompt.messages == [{"role": "user", "content": QUESTION}]
    assert (pair.prompt_hash, pair.rule, pair.state) == (prompt.prompt_hash, CHOICE.name, "active")


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ({"finish_reason": "model_length"}, "truncated"),
        ({"finish_reason": "content_filter"}, "filtered"),
        ({"metadata": {"finish_reason": "insufficient_system_resource"}}, "error_answer"),
        ({"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, "tool_calls"),
        ({"reasoning": "They ask for a date."}, "reasoning"),
        ({"finish_reason": "eos", "reasoning": "\n\n", "tool_calls": []}, None),
    ],
)
def test_an_answer_that_its_text_does_not_tell_whole_is_not_preferred(
    curator: Curator, beside: dict[str, Any], reason: str | None
) -> None:
    asking = [{"role": "user", "content": QUESTION}]
    curator.hear(answered(1, asking, **beside), answered(2, asking))
    curator.hear(make_feedback(9, 1, make_choice(1, 2), user="ines"))
    (pair,) = curator.read(Pair)
    assert (pair.state, pair.reason) == ("active" if reason is None else "refused", reason)


def test_a_retry_in_the_same_notation_is_a_duplicate(curator: Curator) -> None:
    event = answered(2, [{"role": "user", "content": [{"type": "text", "text": f"{QUESTION} "}]}])
    curator.hear(event)
    curator.hear(event)
    (stored,) = curator.read(Interaction)
    assert stored.content_hash == calculate_content_hash(event)


def test_a_picture_is_stored_as_its_hash_and_never_trained_on(curator: Curator) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 90_000}}
    asking = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}]
    curator.hear(adopted(), *invent_history_of_choices(), answered(1, asking), answered(2, asking))
    curator.hear(make_feedback(9, 1, make_choice(1, 2), user="ines"))
    (seen,) = [prompt for prompt in curator.read(Prompt) if "sha256" in json.dumps(prompt.messages)]
    assert len(json.dumps(seen.messages)) < 300
    request = curator.retrain()
    manifest = json.loads(read_files(request, curator)["manifest.json"])
    if seen.split != "gate":
        assert manifest["left_out"]["unrenderable_media"] == 1


def invent_history_of_choices() -> list[Any]:
    """Enough choices of one user for a dataset, in several prompts."""
    events: list[Any] = []
    for number in range(100, 160, 2):
        question = f"Where is parcel {number}? It should be here."
        events += [asked(number, question, ANSWERS[0]), asked(number + 1, question, ANSWERS[1])]
        events.append(chose(number, number, number + 1, number))
    return events


def test_prompts_with_and_without_tools_are_two(curator: Curator) -> None:
    question = [{"role": "user", "content": QUESTION}]
    curator.hear(answered(1, question), answered(2, question, metadata={"tools": [TOOL]}))
    assert sorted(prompt.tools is not None for prompt in curator.read(Prompt)) == [False, True]


def test_what_release_0_1_0_stored_becomes_canonical_once_and_yields_the_same_as_if_heard_today(
    curator: Curator,
) -> None:
    parts = answered(2, [{"role": "user", "content": [{"type": "text", "text": f"{QUESTION} "}]}])
    plain = answered(1, [{"role": "user", "content": QUESTION}])
    curator.hear(plain, parts, make_feedback(9, 1, make_choice(1, 2), user="ines"))
    today = sorted((pair.pair_id, pair.prompt_hash) for pair in curator.read(Pair))
    store_as_before(curator, parts)
    assert len(curator.read(Prompt)) == 2
    sweeper = Sweeper(curator.sessions, curator.own, "", lambda: MORNING)
    sweeper.sweep()
    sweeper.sweep()
    assert sorted((pair.pair_id, pair.prompt_hash) for pair in curator.read(Pair)) == today
    assert {prompt.form for prompt in curator.read(Prompt)} == {1}
    hashes = {row.prompt_hash for row in curator.read(Interaction)}
    assert len(hashes) == 1


def store_as_before(curator: Curator, event: InteractionRecorded) -> None:
    """Put an interaction under a prompt of its own with the messages as they came, and drop what was derived."""
    assert canonicalize(event.messages) != event.messages
    with curator.sessions() as session, session.begin():
        session.execute(text("DELETE FROM curator.pairs"))
        session.execute(text("UPDATE curator.prompts SET form = 0"))
        session.execute(
            text(
                "INSERT INTO curator.prompts (prompt_hash, messages, cell, split)"
                " SELECT 'as-it-came', CAST(:messages AS jsonb), cell, split FROM curator.prompts LIMIT 1"
            ),
            {"messages": json.dumps(event.messages)},
        )
        session.execute(
            text("UPDATE curator.interactions SET prompt_hash = 'as-it-came' WHERE interaction_id = :key"),
            {"key": event.interaction_id},
        )
