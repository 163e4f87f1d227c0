"""LangSmith: runs and feedback, as the SDK, the API and bulk exports give them."""

from collections.abc import Callable, Mapping
from typing import Any

from cli.exchange.calls import COLUMNS, read_question, read_reply
from cli.exchange.feedback import collect_feedback, collect_said
from cli.exchange.found import Found, Options, Refused, Scale
from cli.exchange.ports import Importer, Record, name_read
from cli.exchange.scales import derive_comment, derive_edit, derive_feedback
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    list_objects,
    parse_json,
    read_answer,
    read_name,
    read_text,
    read_time,
)
from shared.events import AnyFeedback, Message

MACHINES = ("model", "auto_eval")
USERS = ("user_id", "user-id", "ls_user_id")
THREADS = ("session_id", "thread_id", "conversation_id")


def read(record: Record, options: Options) -> Found:
    """Read a run (with its feedback, if it is in it) or feedback. Feedback by models is refused; so is half a
    comparison.
    """
    if "run_id" in record and "key" in record:
        return collect_feedback([record], lambda one: _read_feedback(one, options, None))
    key = read_name(record.get("id"))
    if key is None:
        raise Refused("no_id", "a run without an id")
    kind, outermost = str(record.get("run_type") or "llm"), read_name(record.get("parent_run_id")) is None
    if kind != "llm" and not (kind == "chain" and outermost):
        raise Refused("inner_run", f"an inner run of type {kind} is no answer to a user")
    metadata = dig(parse_json(record.get("extra")), "metadata") or parse_json(record.get("metadata")) or {}
    answer = build_answer(
        key,
        read_question(record.get("inputs"), options),
        _read_outputs(record, options),
        user=_find(metadata, USERS),
        conversation=_find(metadata, THREADS),
        at=read_time(record.get("start_time")),
        model=_find(metadata, ("ls_model_name", "model")),
        error=str(record["error"])[:500] if record.get("error") else None,
    )
    found = collect_feedback(list_objects(record.get("feedback")), lambda one: _read_feedback(one, options, key))
    return Found([answer], found.feedback, found.refused)


def _read_outputs(record: Record, options: Options) -> Message:
    if record.get("error") and not record.get("outputs"):
        raise Refused("no_answer", "a run that failed without an answer")
    return read_reply(record.get("outputs"), options)


def _find(metadata: Any, names: tuple[str, ...]) -> str | None:
    return next((found for name in names if (found := read_name(dig(metadata, name)))), None)


def _read_feedback(one: Record, options: Options, run: str | None) -> Found:
    name, source = str(one.get("key")), parse_json(one.get("feedback_source"))
    if dig(source, "type") in MACHINES:
        raise Refused("machine_score", f"{name} was given by a model, not by a person", name)
    if one.get("comparative_experiment_id"):
        raise Refused("half_a_comparison", f"{name} ranks a run among others that the record does not name", name)
    about = read_name(one.get("run_id")) or run
    if about is None:
        raise Refused("no_answer_named", f"{name} is about a project: about which answer is not said", name)
    key = read_name(one.get("id")) or calculate_key(one)
    reads: list[Callable[[], AnyFeedback | None]] = [
        lambda: _read_value(name, one, options),
        lambda: _read_correction(one),
        lambda: derive_comment(one.get("comment")),
    ]
    user = read_name(dig(source, "user_id")) or _find(dig(source, "metadata"), USERS)
    user = user or read_name(dig(source, "user_name"))
    at = read_time(one.get("modified_at") or one.get("created_at"))
    return collect_said(key, about, reads, user, at)


def _read_value(name: str, one: Record, options: Options) -> AnyFeedback | None:
    """The score; where that says nothing, the value beside it."""
    score, value = one.get("score"), one.get("value")
    first, second = (value, None) if score is None else (score, value)
    if first is None:
        return None
    try:
        return derive_feedback(name, first, options.scales, _read_scale(one))
    except Refused:
        if second is None:
            raise
        return derive_feedback(name, second, options.scales, _read_scale(one))


def _read_scale(one: Record) -> Scale | None:
    """Read the scale that the feedback's own configuration states."""
    low, high = (dig(parse_json(one.get("feedback_config")), end) for end in ("min", "max"))
    if isinstance(low, int | float) and isinstance(high, int | float) and low < high:
        return Scale(float(low), float(high))
    return None


def _read_correction(one: Record) -> AnyFeedback | None:
    """A corrected answer is an edit. Raises: Refused: it corrects a score, or holds no text."""
    correction = parse_json(one.get("correction"))
    if not correction:
        return None
    if isinstance(correction, Mapping) and "score" in correction:
        raise Refused("not_read", "a correction of a score says nothing of the answer's words", "correction")
    if isinstance(correction, Mapping) and len(correction) == 1:
        correction = next(iter(correction.values()))
    return derive_edit(read_text(read_answer(correction)["content"]))


READ = ("feedback", "feedback_config", "feedback_source", "score", "value", "correction", "comment", "key")
IMPORTER = Importer(
    "LangSmith: runs, feedback", read, ("runs", "feedback", "data"), columns=COLUMNS, reads=name_read(*READ)
)
