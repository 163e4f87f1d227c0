"""A time that is none is left out and named: no record is lost for it, and no other time is put in its place."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cli.exchange.events import Import
from cli.exchange.found import Found, Options, WrongTime
from cli.exchange.registry import IMPORTERS
from cli.exchange.shapes import read_time
from shared.events import InteractionRecorded
from shared.user_hashes import UserHashes

ABOUT = Import(
    "odd", "odd", datetime(2000, 1, 1, tzinfo=UTC), UserHashes("a secret of sixteen"), datetime(2027, 1, 1, tzinfo=UTC)
)
WRONG = ["soon", "01/02/2026", "2099-01-01", 20260101, "9999-12-31T23:59:59-12:00", -5, True, {"day": 3}]
RECORDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "csv": lambda at: {"prompt": "a", "answer": "b", "thumb": "up", "time": at},
    "huggingface": lambda at: {
        "prompt": "a", "response_a": "b", "response_b": "c", "winner": "model_a", "tstamp": at,
    },
    "label-studio": lambda at: {
        "id": 1, "data": {"prompt": "a", "answer": "b"}, "created_at": at,
        "annotations": [{"id": 2, "updated_at": at, "result": [{"from_name": "v", "value": {"choices": ["good"]}}]}],
    },
    "langfuse": lambda at: {
        "id": "t", "input": "a", "output": "b", "timestamp": at,
        "scores": [{"id": "s", "traceId": "t", "name": "v", "dataType": "BOOLEAN", "value": 1, "timestamp": at}],
    },
    "langsmith": lambda at: {
        "id": "r", "inputs": "a", "outputs": "b", "start_time": at,
        "feedback": [{"id": "f", "run_id": "r", "key": "v", "score": True, "created_at": at}],
    },
    "open-webui": lambda at: {
        "id": "f", "data": {"rating": 1}, "meta": {"message_id": "a1"}, "created_at": at,
        "snapshot": {"chat": {"history": {"messages": {
            "u1": {"role": "user", "content": "a"},
            "a1": {"parentId": "u1", "role": "assistant", "content": "b", "timestamp": at}}}}},
    },
    "pairs": lambda at: {"prompt": "a", "chosen": "b", "rejected": "c", "at": at},
    "phoenix": lambda at: {
        "span_id": "s", "start_time": at, "attributes": {"input.value": "a", "output.value": "b"},
        "annotations": [{"id": "n", "name": "v", "annotator_kind": "HUMAN", "result": {"label": "good"},
                         "created_at": at}],
    },
}  # fmt: skip


def read(source: str, at: Any) -> Found:
    return ABOUT.check_times(IMPORTERS[source].read(RECORDS[source](at), Options()))


@pytest.mark.parametrize("at", WRONG, ids=str)
@pytest.mark.parametrize("source", RECORDS)
def test_a_wrong_time_costs_no_record_and_is_named_by_its_field_in_every_source(source: str, at: Any):
    found, right = read(source, at), read(source, "2026-01-01T10:00:00Z")
    assert (len(found.answers), len(found.feedback)) == (len(right.answers), len(right.feedback))
    assert {(one.reason, one.field) for one in found.refused} == {
        ("no_time", "answer.time"),
        ("no_time", "feedback.time"),
    }
    assert right.refused == []
    for event in ABOUT.derive_events(found):
        assert (event.metadata or {})["imported"]["undated"] is True
        stands = event.served_at if isinstance(event, InteractionRecorded) else event.occurred_at
        assert stands == ABOUT.at


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("source", RECORDS)
def test_a_time_that_is_not_said_is_not_called_wrong(source: str, nothing: Any):
    assert read(source, nothing).refused == []


def test_a_time_without_a_zone_is_utc():
    assert read_time("2026-01-01 10:00") == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert read_time("Thu, 01 Jan 2026 10:00:00 GMT") == WrongTime("Thu, 01 Jan 2026 10:00:00 GMT")
