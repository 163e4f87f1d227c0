"""Langfuse: traces, observations, scores and comments, of the UI's exports, blob storage, and the API (v1 to v4)."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from cli.exchange.calls import COLUMNS, read_question, read_reply
from cli.exchange.feedback import collect_feedback, collect_said
from cli.exchange.found import Found, ImportedAnswer, Options, Refused
from cli.exchange.ports import Importer, Record
from cli.exchange.scales import derive_comment, derive_edit, derive_feedback
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    list_objects,
    parse_json,
    read_answer,
    read_name,
)
from cli.exchange.shapes import read_time as time_of
from cli.exchange.sources.langfuse_api import API
from cli.exchange.sources.langfuse_columns import is_own_column
from shared.events import AnyFeedback

SCORE_TYPES = ("NUMERIC", "CATEGORICAL", "BOOLEAN", "CORRECTION", "TEXT")
LONGEST_WORD = 100
"""Of a score that is a category."""
TRACE_CONTEXT = ("userId", "sessionId", "traceName")
"""What only an observation of version 4 says itself, in which there are no traces."""


def read(record: Record, options: Options) -> Found:
    """Read a trace (with its observations, scores and comments, if they are in it), an observation, a score, a comment.

    - scores by evaluators are nobody's word and refused; a number needs `--scale NAME=LOW:HIGH`
    - of a score on a session nobody knows which answer it means
    - an observation is an answer if it is a GENERATION; in version 4 the outermost one stands for its trace
    """
    if _is_score(record):
        return collect_feedback([record], lambda score: _read_score(score, options, {}))
    if "objectType" in record:
        return _read_comments([record], None)
    if "parentObservationId" in record or "parent_observation_id" in record or "type" in record:
        return _read_observation(record, options)
    observations = [one for one in list_objects(record.get("observations")) if one.get("type") == "GENERATION"]
    scores = list_objects(record.get("scores"))
    judged = {read_name(_get(score, "observationId")) for score in scores}
    answers = [_read_answer_of(record, read_name(record.get("id")), options)]
    for one in observations:
        if (about := read_name(one.get("id"))) in judged:
            answers.append(_read_answer_of(one, about, options, record))
    found = collect_feedback(scores, lambda score: _read_score(score, options, record))
    said = _read_comments(list_objects(record.get("comments")), read_name(record.get("id")))
    refused = [*found.refused, *said.refused, *_refuse_columns(record)]
    return Found(answers, found.feedback + said.feedback, refused)


def _is_score(record: Record) -> bool:
    about = (
        _get(record, "traceId") or _get(record, "observationId") or record.get("subject") or _get(record, "sessionId")
    )
    named = _get(record, "dataType") in SCORE_TYPES or ("value" in record or "stringValue" in record)
    return bool(about and named and "output" not in record)


def _get(record: Record, name: str) -> Any:
    """Get a member by its name in the API, or in exports that write it with underscores."""
    return record[name] if name in record else record.get(_write_with_underscores(name))


@cache
def _write_with_underscores(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name)


def _read_observation(record: Record, options: Options) -> Found:
    key, trace = read_name(record.get("id")), read_name(_get(record, "traceId"))
    kind, outermost = str(record.get("type")), not _get(record, "parentObservationId")
    keys = [key] if kind == "GENERATION" else []
    if outermost and trace and any(_get(record, name) is not None for name in TRACE_CONTEXT):
        keys.append(trace)
    if not keys:
        raise Refused("inner_observation", f"an observation of type {kind[:40]} is no answer to a user")
    said = _read_comments(list_objects(record.get("comments")), keys[0])
    answers = [_read_answer_of(record, one, options) for one in keys]
    return Found(answers, said.feedback, [*said.refused, *_refuse_columns(record)])


def _read_answer_of(record: Record, key: str | None, options: Options, trace: Record | None = None) -> ImportedAnswer:
    trace = trace or record
    if key is None:
        raise Refused("no_id", "a trace without an id: its scores could not be told from others'")
    failed = record.get("level") == "ERROR"
    return build_answer(
        key,
        read_question(record.get("input"), options),
        read_reply(record.get("output"), options),
        user=read_name(_get(trace, "userId")),
        conversation=read_name(_get(trace, "sessionId")),
        at=time_of(record.get("timestamp") or _get(record, "startTime")),
        model=read_name(record.get("model") or _get(record, "providedModelName")),
        error=str(_get(record, "statusMessage") or "failed") if failed else None,
    )


def _refuse_columns(record: Record) -> Iterator[Refused]:
    """Refuse the scores that an export of traces or observations from the UI has as columns: a number, a list of words.
    A person's and an evaluator's look alike there. A column is one if it is none that Langfuse itself names.
    """
    for name, value in record.items():
        if not is_own_column(name) and _may_be_score(value):
            yield Refused(
                "no_score_source",
                f"column {name}, a score if you gave scores that name, does not say who gave it: export the scores' "
                "table too",
                name,
            )


def _may_be_score(value: Any) -> bool:
    """Whether it is a number, a word, or a list of such, also as JSON."""
    value = parse_json(value)
    listed = value if isinstance(value, list) else [value]
    return bool(listed) and all(isinstance(one, int | float) or _is_word(one) for one in listed)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= LONGEST_WORD


def _read_score(score: Record, options: Options, trace: Record) -> Found:
    name = str(score.get("name"))
    if score.get("source") == "EVAL":
        raise Refused("machine_score", f"{name} was given by an evaluator, not by a person", name)
    subject = parse_json(score.get("subject"))
    about = read_name(_get(score, "observationId"))
    if about is None and dig(subject, "kind") in (None, "trace", "observation"):
        about = read_name(dig(subject, "id"))
    about = about or read_name(_get(score, "traceId") or trace.get("id"))
    if about is None:
        raise Refused("no_answer_named", f"{name} is about a session: about which answer is not said", name)
    key = read_name(score.get("id")) or calculate_key(score)
    user = _get(score, "authorUserId") or dig(score, "author", "id") or _get(score, "authorUserName")
    at = time_of(score.get("timestamp") or _get(score, "createdAt"))
    reads = [lambda: _read_value(score, options), lambda: derive_comment(score.get("comment"))]
    return collect_said(key, about, reads, read_name(user), at)


def _read_value(score: Record, options: Options) -> AnyFeedback | None:
    name, kind = str(score.get("name")), _get(score, "dataType")
    text = next((one for one in (_get(score, "stringValue"), score.get("value")) if one not in (None, "")), None)
    if kind == "CORRECTION":
        return derive_edit(read_answer(text)["content"])
    if kind == "TEXT":
        return derive_comment(text)
    if kind == "BOOLEAN":
        return derive_feedback(name, str(text).casefold() in ("1", "1.0", "true"), {})
    return derive_feedback(name, score.get("value") if kind == "NUMERIC" else text, options.scales)


def _read_comments(comments: Sequence[Record], about: str | None) -> Found:
    """Read comments: those inside what they are about, or of the API, which name it."""

    def read_one(comment: Record) -> Found:
        named = comment.get("objectType") in ("TRACE", "OBSERVATION")
        answer = about or (read_name(comment.get("objectId")) if named else None)
        if answer is None:
            raise Refused(
                "no_answer_named", "a comment on a session or a prompt: on which answer is not said", "comments"
            )
        key = read_name(comment.get("id")) or calculate_key(comment)
        user, at = read_name(_get(comment, "authorUserId")), time_of(_get(comment, "createdAt"))
        return collect_said(f"comment:{key}", answer, [lambda: derive_comment(comment.get("content"))], user, at)

    return collect_feedback(comments, read_one)


def _reads(record: Record, path: str, value: Any) -> bool:
    """Of a record itself each column is answered for, but an unknown one that is an object; scores stand in lists."""
    if "." in path:
        return path.startswith(("scores[].", "comments[]."))
    return is_own_column(path) or _may_be_score(value)


IMPORTER = Importer(
    "Langfuse: traces, observations, scores, comments",
    read,
    ("data", "traces", "scores", "observations"),
    API,
    COLUMNS,
    _reads,
)
