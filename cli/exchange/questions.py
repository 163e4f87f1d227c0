"""Tasks of annotation tools: fields that hold a prompt and one or more answers, and questions that people answered.

Which field is what follows from its name, or from `--column prompt=FIELD --column answer=FIELD`, `answer_2` and so on.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cli.exchange.found import ImportedAnswer, ImportedFeedback, Options, Preferred, Refused, Time
from cli.exchange.scales import check_length, derive_edit, derive_feedback
from cli.exchange.shapes import build_answer, read_answer, read_messages, read_name, split_last_answer
from shared.events import AnyFeedback, Comment

ANSWERS = ("answer", "answer_2", "answer_3", "answer_4")
COLUMNS = ("prompt", *ANSWERS)
"""What `--column` can name of a task."""
PROMPTS = ("prompt", "instruction", "question", "input", "messages", "conversation", "chat", "dialogue")
ANSWER = re.compile(
    r"(chosen|rejected|(?:response|answer|completion|output|generation|reply|text)s?(?:[-_ ]?\w{1,2})?)"
)
COMMENTS = ("comment", "feedback", "reason", "rationale", "note", "explanation")
EDITS = ("correct", "edit", "rewrite", "improve", "better", "fixed")
TIES = ("tie", "equal", "same", "both", "neither", "none", "none of them")
LEFT, RIGHT = ("left", "1", "a", "first"), ("right", "2", "b", "second")


@dataclass(frozen=True)
class Task:
    """What was shown: a prompt and its answers by the names of their fields, in order."""

    answers: Mapping[str, ImportedAnswer]

    @property
    def keys(self) -> list[str]:
        return [answer.key for answer in self.answers.values()]


@dataclass(frozen=True)
class Reply:
    """What somebody replied to a question of a task."""

    key: str
    question: str
    value: Any
    user: str | None = None
    at: Time = None
    about: str | None = None
    """The field that the question was asked about, if that is said."""


def read_task(key: str, fields: Mapping[str, Any], options: Options, listed: Sequence[str] = (), **said: Any) -> Task:
    """Read a task from its fields; those that are `listed` are its answers, if there are such.

    Raises: Refused: no prompt, or no answer, is among them.
    """
    columns = options.columns
    prompt = columns.get("prompt") or next((name for name in PROMPTS if fields.get(name)), None)
    if not any(fields.values()):
        raise Refused("no_prompt", "its fields are empty")
    if prompt is None or not fields.get(prompt):
        raise Refused("no_prompt", f"which of {', '.join(fields)[:120]} is the prompt? Say --column prompt=FIELD")
    messages = read_messages(fields[prompt])
    chosen = [columns[name] for name in ANSWERS if name in columns]
    names = chosen or listed or [name for name in fields if name != prompt and ANSWER.fullmatch(name.casefold())]
    filled = [name for name in names if fields.get(name)]
    if not filled and not names and messages[-1]["role"] == "assistant":
        asked, answer = split_last_answer(messages)
        return Task({prompt: build_answer(f"{key}:{prompt}", asked, answer, **said)})
    if names and not filled:
        raise Refused("no_answer", f"{', '.join(names)[:120]}: empty")
    if not filled:
        raise Refused("no_answer", f"which of {', '.join(fields)[:120]} is the answer? Say --column answer=FIELD")
    answers = {name: build_answer(f"{key}:{name}", messages, read_answer(fields[name]), **said) for name in filled}
    return Task(answers)


def read_replies(
    task: Task, replies: Sequence[Reply], options: Options, refused: list[Refused]
) -> list[ImportedFeedback]:
    """Read what people replied; what cannot be read is added to `refused`."""
    found: list[ImportedFeedback] = []
    for reply in replies:
        try:
            found.extend(_read_reply(task, reply, options))
        except Refused as error:
            refused.append(error)
    return found


def _read_reply(task: Task, reply: Reply, options: Options) -> Iterator[ImportedFeedback]:
    if reply.value in (None, "", [], [""]):
        return
    if (preferred := _read_preference(task, reply.value)) is not None:
        yield from _prefer(task, reply, preferred)
        return
    named = task.answers.get(reply.about or "")
    about = named.key if named else _find_only(task, reply)
    yield ImportedFeedback(reply.key, about, _read_words(reply, options), reply.user, reply.at)


def _find_only(task: Task, reply: Reply) -> str:
    if len(task.answers) == 1:
        return task.keys[0]
    named = [answer.key for name, answer in task.answers.items() if name in reply.question]
    if len(named) != 1:
        raise Refused(
            "no_answer_named", f"{reply.question} is asked of several answers: of which is not said", reply.question
        )
    return named[0]


def _read_words(reply: Reply, options: Options) -> AnyFeedback:
    value = reply.value[0] if isinstance(reply.value, list) and len(reply.value) == 1 else reply.value
    name = reply.question.casefold()
    if isinstance(value, str) and any(word in name for word in EDITS):
        return derive_edit(value)
    if isinstance(value, str) and any(word in name for word in COMMENTS):
        return Comment(text=check_length(value, "comment"))
    if not isinstance(value, str | int | float):
        raise Refused(
            "unknown_value", f"{reply.question} has a value of a kind that says nothing of one answer", reply.question
        )
    return derive_feedback(reply.question, value, options.scales)


def _read_preference(task: Task, value: Any) -> list[list[str]] | None:
    """Read which answers are preferred, as groups of keys from the best on; None if the value compares none."""
    if len(task.answers) < 2:
        return None
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "rank" in one for one in value):
        return _read_ranks(task, value)
    word = str(value[0] if isinstance(value, list) and len(value) == 1 else value).casefold()
    names = {name.casefold(): answer.key for name, answer in task.answers.items()}
    if word in names:
        return [[names[word]], [key for key in task.keys if key != names[word]]]
    if word in TIES:
        return [task.keys]
    if len(task.answers) == 2 and word in LEFT + RIGHT:
        best = task.keys[word in RIGHT]
        return [[best], [key for key in task.keys if key != best]]
    return None


def _read_ranks(task: Task, ranks: list[Any]) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for one in ranks:
        name = str(read_name(one.get("value")))
        if name not in task.answers or not isinstance(one["rank"], int):
            raise Refused("unknown_value", f"a rank of {name}, which is no answer of the task")
        groups.setdefault(one["rank"], []).append(task.answers[name].key)
    return [groups[rank] for rank in sorted(groups)]


def _prefer(task: Task, reply: Reply, groups: list[list[str]]) -> Iterator[ImportedFeedback]:
    """A choice between each answer and each that is ranked next below it; a tie of two."""
    if len(groups) == 1 and len(groups[0]) == 2:
        one, other = groups[0]
        yield ImportedFeedback(reply.key, one, Preferred(other, None, one), reply.user, reply.at)
    for better, worse in pairwise(groups):
        for one in better:
            for other in worse:
                first = min(one, other, key=task.keys.index)
                said = Preferred(other, one, first)
                key = reply.key if len(task.answers) == 2 else f"{reply.key}:{one}:{other}"
                yield ImportedFeedback(key, one, said, reply.user, reply.at)
