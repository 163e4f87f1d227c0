"""Hugging Face datasets of preferences: with and without a prompt column, UltraFeedback, and labels as for KTO."""

from collections.abc import Sequence
from typing import Any

from cli.exchange.found import Found, ImportedFeedback, Options, Preferred, Refused, Scale
from cli.exchange.ports import Importer, Record, name_read
from cli.exchange.scales import derive_feedback, derive_label
from cli.exchange.shapes import (
    build_answer,
    calculate_key,
    dig,
    parse_json,
    read_answer,
    read_messages,
    read_name,
    read_time,
    read_tools,
)
from cli.exchange.sources.pairs import find_prompt, read_sides, read_user, split_common
from shared.events import Message

OVERALL = Scale(1, 10)
"""Of UltraFeedback's overall score."""


def read(record: Record, options: Options) -> Found:
    """Read a row; what it is follows from its columns:

    - `chosen` and `rejected`, with `prompt` (or `instruction`, `question`, `input`) or with the prompt in both
    - `winner` (or `winner_model_a` and so on) of two answers or conversations, as chat arenas publish people's votes
    - `completions` of an `instruction`, each with scores: UltraFeedback; the rater is the model that gave them
    - `completion` (or `response`) and `label`
    """
    if isinstance(completions := parse_json(record.get("completions")), list):
        return _read_ultrafeedback(record, completions)
    if "winner" in record or "winner_model_a" in record:
        return _read_vote(record)
    if "chosen" in record and "rejected" in record:
        return _read_pair(record)
    if "label" in record:
        return _read_label(record)
    raise Refused(
        "unknown_columns", f"neither chosen and rejected, nor winner, completions or label: {', '.join(record)[:120]}"
    )


def _read_pair(record: Record) -> Found:
    messages, sides = read_sides(record)
    user = read_user(record)
    tools = read_tools(record.get("tools"))
    key = calculate_key(messages, sides, user, tools)
    models = {
        side: read_name(record.get(f"{side}_model") or record.get(f"{side}-model")) for side in ("chosen", "rejected")
    }
    answers = [
        build_answer(f"{key}:{side}", messages, answer, user=user, model=models[side], tools=tools)
        for side, answer in zip(("chosen", "rejected"), sides, strict=True)
    ]
    said = Preferred(other=f"{key}:rejected", key=f"{key}:chosen")
    return Found(answers, [ImportedFeedback(key, f"{key}:chosen", said, user)])


def _read_vote(record: Record) -> Found:
    sides = [_read_side(record, side) for side in ("a", "b")]
    messages, answers = split_common(*sides)
    user = read_name(record.get("judge")) or read_user(record)
    at = read_time(record.get("tstamp") or record.get("timestamp"))
    key = read_name(record.get("question_id") or record.get("id")) or calculate_key(messages, answers, user, at)
    found = [
        build_answer(f"{key}:{side}", messages, answer, model=read_name(record.get(f"model_{side}")), at=at)
        for side, answer in zip("ab", answers, strict=True)
    ]
    said = Preferred(other=f"{key}:b", key=_find_winner(key, record), first=f"{key}:a")
    return Found(found, [ImportedFeedback(key, f"{key}:a", said, user, at)])


def _read_side(record: Record, side: str) -> list[Message]:
    """Read one side's conversation, or its answer to a prompt; texts may stand in lists, one for each turn."""
    if f"conversation_{side}" in record:
        return read_messages(record[f"conversation_{side}"])
    prompts, replies = (parse_json(one) for one in (find_prompt(record), record.get(f"response_{side}")))
    if not isinstance(prompts, list) or not all(isinstance(one, str) for one in prompts):
        return [*read_messages(prompts), read_answer(replies)]
    turns = zip(prompts, replies if isinstance(replies, list) else [], strict=False)
    return [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]


def _find_winner(key: str, record: Record) -> str | None:
    """Find the key of the answer that won; None: neither. Raises: Refused: nobody knows."""
    words = {"model_a": "a", "a": "a", "model_b": "b", "b": "b"}
    word = str(record.get("winner")).casefold()
    flagged = next((side for side in "ab" if str(record.get(f"winner_model_{side}")) in ("1", "True")), None)
    if word in words or flagged:
        return f"{key}:{words.get(word) or flagged}"
    if "tie" in word or "both" in word or str(record.get("winner_tie")) in ("1", "True"):
        return None
    raise Refused("unknown_value", f"a winner of {word[:40]!r}", "winner")


def _read_ultrafeedback(record: Record, completions: Sequence[Any]) -> Found:
    messages = read_messages(find_prompt(record))
    key = calculate_key(messages, completions)
    found = Found()
    for place, one in enumerate(completions):
        try:
            answer = build_answer(
                f"{key}:{place}", messages, read_answer(dig(one, "response")), model=read_name(dig(one, "model"))
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
        raise Refused("no_score", "a completion without an overall_score", "overall_score")
    return ImportedFeedback(f"{about}:score", about, derive_feedback("overall_score", score, {}, OVERALL), "gpt-4")


def _read_label(record: Record) -> Found:
    thumb = derive_label("label", record["label"])
    messages, answer = _read_completion(record)
    user = read_user(record)
    tools = read_tools(record.get("tools"))
    key = calculate_key(messages, answer, user, tools)
    judged = build_answer(key, messages, answer, user=user, tools=tools)
    return Found([judged], [ImportedFeedback(f"{key}:label", key, thumb, user)] if thumb else [])


def _read_completion(record: Record) -> tuple[list[Message], Message]:
    completion = next((record[name] for name in ("completion", "response", "answer") if record.get(name)), None)
    prompt = find_prompt(record)
    if prompt is None and isinstance(parse_json(completion), list):
        messages = read_messages(completion)
        return messages[:-1], read_answer(messages)
    if prompt is None:
        raise Refused("no_prompt", "none of prompt, instruction, question, input holds anything")
    return read_messages(prompt), read_answer(completion)


READ = ("label", "winner", "winner_model_a", "winner_model_b", "winner_tie", "overall_score")
IMPORTER = Importer(
    "Hugging Face datasets: pairs, UltraFeedback, labels", read, ("rows", "data", "train"), reads=name_read(*READ)
)
