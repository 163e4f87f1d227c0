"""Langfuse: traces, observations and scores, from the UI's JSON and CSV exports and from the API (v1, v2, v3)."""

from functools import cache
from typing import Any

from cli.exchange.found import Found, ImportedAnswer, ImportedFeedback, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.scales import derive_comment, derive_edit, derive_feedback
from cli.exchange.shapes import build_answer, calculate_key, dig, parse_json, read_answer, read_messages, read_name
from cli.exchange.shapes import read_time as time_of
from shared.events import AnyFeedback

SCORE_TYPES = ("NUMERIC", "CATEGORICAL", "BOOLEAN", "CORRECTION", "TEXT")


def read(record: Record, options: Options) -> Found:
    """Read a trace (with its observations and scores, if they are in it), an observation, or a score.

    - scores by evaluators are nobody's word and refused; a number needs `--scale NAME=LOW:HIGH`
    - of a score on a session nobody knows which answer it means
    """
    if _is_score(record):
        return _read_scores([record], options, {})
    observations = [one for one in _list_objects(record.get("observations")) if one.get("type") == "GENERATION"]
    scores = _list_objects(record.get("scores"))
    judged = {_get(score, "observationId") for score in scores}
    answers = [_read_answer_of(record)]
    answers += [_read_answer_of(one, record) for one in observations if one.get("id") in judged]
    found = _read_scores(scores, options, record)
    return Found(answers, found.feedback, found.refused)


def _is_score(record: Record) -> bool:
    about = (
        _get(record, "traceId") or _get(record, "observationId") or record.get("subject") or _get(record, "sessionId")
    )
    named = record.get("dataType") in SCORE_TYPES or ("value" in record or "stringValue" in record)
    return bool(about and named and "output" not in record)


def _get(record: Record, name: str) -> Any:
    """Get a member by its name in the API, or in exports that write it with underscores."""
    return record[name] if name in record else record.get(_write_with_underscores(name))


@cache
def _write_with_underscores(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name)


def _list_objects(value: object) -> list[Record]:
    value = parse_json(value)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _read_answer_of(record: Record, trace: Record | None = None) -> ImportedAnswer:
    trace = trace or record
    key = read_name(record.get("id"))
    if key is None:
        raise Refused("no_id", "a trace without an id: its scores could not be told from others'")
    failed = record.get("level") == "ERROR"
    return build_answer(
        key,
        read_messages(record.get("input")),
        read_answer(record.get("output")),
        user=read_name(_get(trace, "userId")),
        conversation=read_name(_get(trace, "sessionId")),
        at=time_of(record.get("timestamp") or _get(record, "startTime")),
        model=read_name(record.get("model") or _get(record, "providedModelName")),
        error=str(_get(record, "statusMessage") or "failed") if failed else None,
    )


def _read_scores(scores: list[Record], options: Options, trace: Record) -> Found:
    found = Found()
    for score in scores:
        try:
            found.feedback.extend(_read_score(score, options, trace))
        except Refused as refused:
            found.refused.append(refused)
    return found


def _read_score(score: Record, options: Options, trace: Record) -> list[ImportedFeedback]:
    if score.get("source") == "EVAL":
        raise Refused("machine_score", f"{score.get('name')} was given by an evaluator, not by a person")
    subject = score.get("subject") or {}
    kind = dig(subject, "kind")
    about = read_name(_get(score, "observationId") or (subject.get("id") if kind != "session" else None))
    about = about or read_name(_get(score, "traceId") or trace.get("id"))
    if about is None:
        raise Refused("no_answer_named", f"{score.get('name')} is about a session: about which answer is not said")
    key = read_name(score.get("id")) or calculate_key(score)
    user = read_name(_get(score, "authorUserId") or dig(score, "author", "id"))
    at = time_of(score.get("timestamp") or _get(score, "createdAt"))
    says = [_read_value(score, options), derive_comment(score.get("comment"))]
    named = [(f"{key}:{place}", one) for place, one in enumerate(says) if one is not None]
    return [ImportedFeedback(name, about, one, user, at) for name, one in named]


def _read_value(score: Record, options: Options) -> AnyFeedback | None:
    name, kind = str(score.get("name")), score.get("dataType") or score.get("data_type")
    text = next((one for one in (_get(score, "stringValue"), score.get("value")) if one not in (None, "")), None)
    if kind == "CORRECTION":
        return derive_edit(read_answer(text)["content"])
    if kind == "TEXT":
        return derive_comment(text)
    if kind == "BOOLEAN":
        return derive_feedback(name, str(text).casefold() in ("1", "1.0", "true"), {})
    return derive_feedback(name, score.get("value") if kind == "NUMERIC" else text, options.scales)


IMPORTER = Importer("Langfuse: traces, observations, scores", read, ("data", "traces", "scores", "observations"))
