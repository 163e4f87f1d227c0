"""A part of a record that cannot be read costs itself: what a person said beside it is kept."""

from typing import Any

import pytest

from cli.exchange.found import Options, Refused
from cli.exchange.registry import IMPORTERS
from shared.events import Comment, Edit

PARTS: dict[str, tuple[str, dict[str, Any], list[type]]] = {
    "langfuse": (
        "unknown_scale",
        {"traceId": "t", "name": "quality", "value": 7, "dataType": "NUMERIC", "comment": "wrong, it is 6"},
        [Comment],
    ),
    "langsmith": (
        "unknown_scale",
        {"run_id": "r", "key": "user_score", "score": 7, "comment": "bad", "correction": {"output": "better"}},
        [Edit, Comment],
    ),
    "phoenix": (
        "unknown_scale",
        {"span_id": "s", "name": "quality", "annotator_kind": "HUMAN", "result": {"score": 7, "explanation": "bad"}},
        [Comment],
    ),
}


@pytest.mark.parametrize("source", PARTS)
def test_a_number_on_an_unknown_scale_leaves_the_words_beside_it(source: str):
    reason, record, kinds = PARTS[source]
    found = IMPORTERS[source].read(record, Options())
    assert [type(one.says) for one in found.feedback] == kinds
    assert [refused.reason for refused in found.refused] == [reason]


def test_a_conversation_without_an_answer_is_refused_as_one():
    record = {"conversations": [{"from": "gpt", "value": "only"}]}
    with pytest.raises(Refused, match="no_answer"):
        IMPORTERS["sharegpt"].read(record, Options())
