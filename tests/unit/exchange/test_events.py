"""What is found becomes events: the same ones each time, with users hashed and the provenance kept."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from cli.exchange.events import Import, SecretMissing
from cli.exchange.found import Found, ImportedAnswer, ImportedFeedback, Preferred, Replaced
from services.curator.pairs.domain.pairing import derive_group
from services.curator.pairs.domain.rules import Answer
from shared.bus import decode, encode
from shared.conversation import calculate_prompt_hash
from shared.events import Choice, FeedbackReceived, InteractionRecorded, Regenerate, Thumb
from shared.ids import calculate_user_hash
from shared.user_hashes import UserHashes
from tests.unit.exchange.reading_files import read_fixture

SECRET = "a secret of sixteen"
ABOUT = Import("spring", "pairs", datetime(2000, 1, 1, tzinfo=UTC), UserHashes(SECRET))
ASKED = [{"role": "user", "content": "Where is my lamp?"}]
ANSWERS = [ImportedAnswer("1", ASKED, "On its way."), ImportedAnswer("2", ASKED, "No idea.", user="ines")]


def derive(*said: ImportedFeedback, about: Import = ABOUT) -> Any:
    return list(about.derive_events(Found(ANSWERS, list(said))))


def test_a_fixtures_events_survive_the_broker_and_make_a_pair():
    found, _ = read_fixture("pairs", "pairs.jsonl")
    events = list(ABOUT.derive_events(found))
    assert [decode(encode(event, source="import")) for event in events] == events
    answers = {
        one.interaction_id: Answer(
            one.interaction_id, calculate_prompt_hash(one.messages), one.answer, one.model_version
        )
        for one in events
        if isinstance(one, InteractionRecorded)
    }
    said = [one for one in events if isinstance(one, FeedbackReceived)]
    pairs = [pair for one in said for pair in derive_group(answers, [one]).pairs]
    assert [(pair.draft.chosen.text, pair.state) for pair in pairs] == [
        ("It is on its way to you.", "active"),
        ("Hello!", "active"),
    ]


def test_importing_again_gives_the_same_events_and_another_name_others():
    said = ImportedFeedback("s", "1", Thumb(value="up"))
    assert derive(said) == derive(said)
    for other in (replace(ABOUT, name="summer"), replace(ABOUT, tool="langfuse")):
        assert {event.identity for event in derive(said)}.isdisjoint(
            event.identity for event in derive(said, about=other)
        )


def test_a_user_is_the_one_that_front_ends_name_so_and_never_in_clear():
    [_, second, said] = derive(ImportedFeedback("s", "1", Thumb(value="up"), "tomas"))
    assert second.user == calculate_user_hash("ines", None, SECRET)
    assert said.user == calculate_user_hash("tomas", None, SECRET)
    assert b"ines" not in msgspec.json.encode(second)
    with pytest.raises(SecretMissing, match="HELIOTROPE_USER_HASH_SECRET"):
        derive(about=replace(ABOUT, hashes=None))


def test_what_was_not_said_has_the_imports_time_and_is_marked():
    [first, _, said] = derive(ImportedFeedback("s", "1", Thumb(value="up"), at=datetime(2026, 1, 1, tzinfo=UTC)))
    assert first.metadata["imported"] == {"source": "spring", "tool": "pairs", "record": "1", "undated": True}
    assert "undated" not in said.metadata["imported"]
    assert said.occurred_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_choices_and_regenerations_point_at_the_answers_events():
    first, second, choice, tie, again = derive(
        ImportedFeedback("s", "1", Preferred("2", "2", first="1")),
        ImportedFeedback("t", "1", Preferred("2", None)),
        ImportedFeedback("u", "1", Replaced("2")),
    )
    ids = [first.interaction_id, second.interaction_id]
    assert choice.feedback == Choice(other_interaction_id=ids[1], presented_order=ids, preferred_interaction_id=ids[1])
    assert tie.feedback.tie
    assert again.feedback == Regenerate(replacement_interaction_id=ids[1])
