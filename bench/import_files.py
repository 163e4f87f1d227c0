"""Files as other tools write them, of as many rows as a benchmark wants: each an answer (or two) of which something is
said, where the tool records what was said.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

AT = "2026-03-01T10:00:00.000Z"
USERS = 5_000


def write_list(path: Path, rows: Iterable[Any]) -> None:
    """Write rows as one JSON list, a row a line."""
    with path.open("w") as file:
        for number, row in enumerate(rows):
            file.write(("," if number else "[") + json.dumps(row) + "\n")
        file.write("]")


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write rows as JSON, one a line."""
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def ask(number: int) -> dict[str, str]:
    return {"role": "user", "content": f"Where is order {number}?"}


def reply(number: int) -> dict[str, str]:
    return {"role": "assistant", "content": f"Order {number} left our store on Monday. " * 4}


def name_user(number: int) -> str:
    return f"user-{number % USERS}"


def draw_traces(rows: int) -> Iterator[Any]:
    """Langfuse's traces with a thumb each."""
    for number in range(rows):
        score = {"id": f"s{number}", "name": "user-feedback", "value": number % 2, "dataType": "BOOLEAN"}
        yield {
            "id": f"t{number}",
            "timestamp": AT,
            "userId": name_user(number),
            "input": [ask(number)],
            "output": reply(number),
            "scores": [score | {"traceId": f"t{number}", "source": "API", "timestamp": AT}],
        }


def draw_whole_pairs(rows: int) -> Iterator[Any]:
    """Pairs without a prompt column, as the Hub has them."""
    for number in range(rows):
        answers = {"chosen": reply(number), "rejected": {"role": "assistant", "content": "I do not know that. " * 4}}
        yield {side: [ask(number), answer] for side, answer in answers.items()}


def draw_chats(rows: int) -> Iterator[Any]:
    """Open WebUI's chats of one answer with its rating."""
    for number in range(rows):
        asked = {"id": f"u{number}", "parentId": None, **ask(number)}
        answer = {
            "id": f"a{number}",
            "parentId": f"u{number}",
            **reply(number),
            "model": "small-1",
            "timestamp": 1_767_000_000 + number,
            "annotation": {"rating": 1 if number % 2 else -1, "comment": "As I said."},
        }
        messages = {str(one["id"]): one for one in (asked, answer)}
        yield {"id": f"c{number}", "user_id": name_user(number), "chat": {"history": {"messages": messages}}}


def draw_spans(rows: int) -> Iterator[Any]:
    """Phoenix's spans with flat attributes and an annotation each."""
    for number in range(rows):
        attributes = {
            f"llm.{side}_messages.0.message.{name}": value
            for side, message in {"input": ask(number), "output": reply(number)}.items()
            for name, value in message.items()
        }
        note = {"id": f"n{number}", "name": "thumb", "annotator_kind": "HUMAN", "result": {"label": "good"}}
        yield {
            "context": {"span_id": f"s{number}", "trace_id": f"t{number}"},
            "span_kind": "LLM",
            "start_time": "2026-05-01T08:00:00+00:00",
            "attributes": attributes | {"user.id": name_user(number), "llm.model_name": "small-1"},
            "annotations": [note],
        }


def draw_runs(rows: int) -> Iterator[Any]:
    """LangSmith's runs with feedback in them."""
    for number in range(rows):
        said = {"id": f"f{number}", "run_id": f"r{number}", "key": "user_score", "score": bool(number % 2)}
        yield {
            "id": f"r{number}",
            "run_type": "llm",
            "start_time": AT,
            "inputs": {"messages": [ask(number)]},
            "outputs": {"choices": [{"message": reply(number), "finish_reason": "stop"}]},
            "extra": {"metadata": {"user_id": name_user(number), "ls_model_name": "small-1"}},
            "feedback": [said | {"created_at": AT, "feedback_source": {"type": "app", "user_id": name_user(number)}}],
        }


def draw_calls(rows: int) -> Iterator[Any]:
    """LiteLLM's standard logging payloads; it records nothing that was said."""
    for number in range(rows):
        yield {
            "id": f"q{number}",
            "call_type": "acompletion",
            "status": "success",
            "startTime": 1_767_000_000.25 + number,
            "model": "small-1",
            "end_user": name_user(number),
            "messages": [ask(number)],
            "response": {"choices": [{"index": 0, "message": reply(number), "finish_reason": "stop"}]},
            "metadata": {"user_api_key_end_user_id": name_user(number)},
        }


def draw_preferences(rows: int) -> Iterator[Any]:
    """OpenAI's files for training on preferences."""
    for number in range(rows):
        other = {"role": "assistant", "content": "I do not know that. " * 4}
        yield {
            "input": {"messages": [ask(number)], "tools": []},
            "preferred_output": [reply(number)],
            "non_preferred_output": [other],
        }


def draw_conversations(rows: int) -> Iterator[Any]:
    """ShareGPT's conversations with a label each."""
    for number in range(rows):
        turns = [("human", ask(number)["content"]), ("gpt", reply(number)["content"])]
        listed = [{"from": who, "value": text} for who, text in turns]
        yield {"id": f"g{number}", "conversations": listed, "kto_tag": bool(number % 2)}


def draw_records(rows: int) -> Iterator[Any]:
    """Argilla's records of two answers with a response each."""
    for number in range(rows):
        said = {"value": "response-1", "user_id": name_user(number), "status": "submitted"}
        fields = {"response-1": reply(number)["content"], "response-2": "I do not know that. " * 4}
        yield {
            "id": f"r{number}",
            "fields": {"prompt": ask(number)["content"], **fields},
            "responses": {"preference": [said]},
        }


def draw_tasks(rows: int) -> Iterator[Any]:
    """Label Studio's tasks of two answers with an annotation each."""
    for number in range(rows):
        chosen = {"from_name": "pw", "to_name": "a,b", "type": "pairwise", "value": {"selected": "left"}}
        data = {"answer_1": reply(number)["content"], "answer_2": "I do not know that. " * 4}
        annotation = {"id": number, "completed_by": number % USERS, "updated_at": AT, "result": [chosen]}
        yield {"id": number, "data": {"prompt": ask(number)["content"], **data}, "annotations": [annotation]}


def draw_pairs(rows: int) -> Iterator[Any]:
    """Pairs in our own shape."""
    for number in range(rows):
        sides = {"chosen": reply(number)["content"], "rejected": "I do not know that. " * 4}
        yield {"prompt": ask(number)["content"], **sides, "user_id": name_user(number), "at": AT}


def write_csv(path: Path, rows: int) -> None:
    """Write a table of answers with a thumb each."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "prompt", "answer", "thumb", "user", "time"])
        for number in range(rows):
            thumb = ("up", "down")[number % 2]
            table.writerow([number, ask(number)["content"], reply(number)["content"], thumb, name_user(number), AT])


def as_list(draw: Callable[[int], Iterator[Any]]) -> Callable[[Path, int], None]:
    return lambda path, rows: write_list(path, draw(rows))


def as_lines(draw: Callable[[int], Iterator[Any]]) -> Callable[[Path, int], None]:
    return lambda path, rows: write_lines(path, draw(rows))


SOURCES: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "langfuse": ("traces.jsonl", as_lines(draw_traces)),
    "huggingface": ("pairs.json", as_list(draw_whole_pairs)),
    "open-webui": ("chats.json", as_list(draw_chats)),
    "phoenix": ("spans.jsonl", as_lines(draw_spans)),
    "csv": ("answers.csv", write_csv),
    "pairs": ("rows.jsonl", as_lines(draw_pairs)),
    "langsmith": ("runs.jsonl", as_lines(draw_runs)),
    "litellm": ("calls.jsonl", as_lines(draw_calls)),
    "openai": ("preferences.jsonl", as_lines(draw_preferences)),
    "sharegpt": ("conversations.json", as_list(draw_conversations)),
    "argilla": ("records.json", as_list(draw_records)),
    "label-studio": ("tasks.json", as_list(draw_tasks)),
}
SILENT = ("litellm",)
"""Tools that record nothing of what was said."""
