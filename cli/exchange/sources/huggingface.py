"""Hugging Face datasets of preferences: with and without a prompt column, UltraFeedback, and labels as for KTO."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from cli.exchange.found import Found, ImportedFeedback, Options, Preferred, Refused, Scale
from cli.exchange.ports import Importer, Record
from cli.exchange.scales import derive_feedback
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    parse_json,
    read_answer,
    read_messages,
    read_name,
    read_tools,
)
from cli.exchange.sources.pairs import read_user
from shared.events import Message, Thumb

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
OVERALL = Scale(1, 10)
"""Of UltraFeedback's overall score."""


def read(record: Record, options: Options) -> Found:
    """Read a row; what it is follows from its columns:

    - `chosen` and `rejected`, with `prompt` (or `instruction`, `question`, `input`) or with the prompt in both
    - `completions` of an `instruction`, each with scores: UltraFeedback; the rater is the model that gave them
    - `completion` (or `response`) and `label`
    """
    if isinstance(completions := parse_json(record.get("completions")), list):
        return _read_ultrafeedback(record, completions)
    if "chosen" in record and "rejected" in record:
        return _read_pair(record)
    if "label" in record:
        return _read_label(record)
    raise Refused(
        "unknown_columns", f"neither chosen and rejected, nor completions, nor label: {', '.join(record)[:120]}"
    )


def _find_prompt(record: Record) -> Any:
    found = next((record[name] for name in ("prompt", "instruction", "question", "input") if record.get(name)), None)
    system = record.get("system") or record.get("system_prompt")
    if found is None or not system:
        return found
    return [{"role": "system", "content": str(system)}, *read_messages(found)]


def _read_pair(record: Record) -> Found:
    chosen, rejected = (parse_json(record[side]) for side in ("chosen", "rejected"))
    prompt = _find_prompt(record)
    if prompt is None:
        messages, sides = _split_common(_read_whole(chosen), _read_whole(rejected))
    else:
        messages, sides = read_messages(prompt), [read_answer(chosen), read_answer(rejected)]
    user = read_user(record)
    tools = read_tools(record.get("tools"))
    key = calculate_key(messages, sides, user, tools)
    models = {side: read_name(record.get(f"{side}_model")) for side in ("chosen", "rejected")}
    answers = [
        build_answer(f"{key}:{side}", messages, answer, user=user, model=models[side], tools=tools)
        for side, answer in zip(("chosen", "rejected"), sides, strict=True)
    ]
    said = Preferred(other=f"{key}:rejected", key=f"{key}:chosen")
    return Found(answers, [ImportedFeedback(key, f"{key}:chosen", said, user)])


def _read_whole(side: Any) -> list[Message]:
    """Read a whole conversation: messages, or a transcript of Human and Assistant."""
    if not isinstance(side, str):
        return read_messages(side)
    if not side.lstrip().startswith(HUMAN.strip()):
        raise Refused("no_prompt", "no prompt column, and chosen is no conversation")
    messages: list[Message] = []
    for part in ("\n\n" + side.lstrip()).split(HUMAN)[1:]:
        asked, *replies = part.split(ASSISTANT)
        messages.append({"role": "user", "content": asked.strip()})
        messages += [{"role": "assistant", "content": reply.strip()} for reply in replies]
    return messages


def _split_common(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], list[Message]]:
    """Split two conversations that begin alike into (what is common, [their last answers]).

    Raises: Refused: more than the last answer differs.
    """
    common = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))]
    ends = [chosen[len(common) :], rejected[len(common) :]]
    if not common or any(len(end) != 1 or end[0]["role"] != "assistant" for end in ends):
        raise Refused("no_common_prompt", "chosen and rejected differ in more than their last answer")
    return common, [read_answer(end) for end in ends]


def _read_ultrafeedback(record: Record, completions: Sequence[Any]) -> Found:
    messages = read_messages(_find_prompt(record))
    key = calculate_key(messages, completions)
    found = Found()
    for place, one in enumerate(completions):
        try:
            answer = build_answer(
                f"{key}:{place}", messages, read_answer(dig(one, "response")), model=dig(one, "model")
            )
            found.answers.append(answer)
            found.feedback.append(_read_score(answer.key, one))
        except Refused as refused:
            found.refused.append(refused)
    return found


def _read_score(about: str, one: Any) -> ImportedFeedback:
    """The overall score, of one rater who saw all completions of a prompt: GPT-4, as the dataset's card says."""
    score = dig(one, "overall_score")
    if score is None:
        raise Refused("unknown_value", "a completion without an overall_score")
    return ImportedFeedback(f"{about}:score", about, derive_feedback("overall_score", score, {}, OVERALL), "gpt-4")


def _read_label(record: Record) -> Found:
    label = record["label"]
    if isinstance(label, str):
        label = {"true": True, "false": False, "1": True, "0": False}.get(label.casefold())
    if not isinstance(label, bool) and label not in (0, 1):
        raise Refused("unknown_value", f"a label of {record['label']!r}, which is neither true nor false")
    messages, answer = _read_completion(record)
    user = read_user(record)
    tools = read_tools(record.get("tools"))
    key = calculate_key(messages, answer, user, tools)
    thumb = Thumb(value="up" if label else "down")
    judged = build_answer(key, messages, answer, user=user, tools=tools)
    return Found([judged], [ImportedFeedback(f"{key}:label", key, thumb, user)])


def _read_completion(record: Record) -> tuple[list[Message], Message]:
    completion = next((record[name] for name in ("completion", "response", "answer") if record.get(name)), None)
    prompt = _find_prompt(record)
    if prompt is None and isinstance(parse_json(completion), list):
        messages = read_messages(completion)
        return messages[:-1], read_answer(messages)
    return read_messages(prompt), read_answer(completion)


IMPORTER = Importer("Hugging Face datasets: pairs, UltraFeedback, labels", read, ("rows", "data", "train"))
