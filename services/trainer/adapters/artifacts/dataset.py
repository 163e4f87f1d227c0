"""Rows of a frozen dataset, as each method needs them. Prompts and answers are lists of messages."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset, Features, Json, List
from jinja2.exceptions import TemplateError

from services.trainer.adapters.artifacts.replay import FACTOR
from services.trainer.adapters.artifacts.run_storage import translate_store_errors
from services.trainer.domain.pair_weights import calculate_pair_weights
from services.trainer.domain.recipe.schema import SftRows
from services.trainer.domain.refusals import Refusal
from services.trainer.domain.training import TrainingFailed
from shared.artifacts import Artifacts, locate_folder
from shared.artifacts.manifest import NAME
from shared.conversation import Tool, derive_template_messages
from shared.events import Message


def fetch_dataset(artifacts: Artifacts, uri: str, content_sha256: str | None = None) -> Path:
    """Fetch a frozen dataset, each file verified; one that release 0.1.0 froze lists no files and is taken as it is.

    `content_sha256`: what its manifest must hash to; then it must list its files.

    Raises:
        TrainingFailed: it is not there, or not what was frozen.
        ConnectionError: its store does not answer; trying again may help.
    """
    with translate_store_errors("the dataset"):
        unlisted = content_sha256 is None and (locate_folder(uri) / NAME).is_file()
        return artifacts.fetch(uri, content_sha256, unlisted=unlisted)


TRAIN_FILE = "train.parquet"
"""Every dataset has one, and nothing else that is fetched."""
PAIR_COLUMNS = ("prompt", "chosen", "rejected", "epsilon")
TOOLS = "tools"
"""Column with the tools of a row's prompt as JSON text, which TRL hands to the chat template."""


def load_pairs(path: Path) -> Dataset:
    """Load the pairs of one split: `prompt`, `chosen`, `rejected` and `epsilon`, and in a mix their `factor`.

    Raises:
        TrainingFailed: no such file, or a column is missing.
    """
    return make_dataset(_load_rows(path, PAIR_COLUMNS, optional=(FACTOR,)))


def weigh_pairs(pairs: Dataset) -> list[float]:
    """Calculate what each pair counts. Raises: InvalidRequest."""
    return calculate_pair_weights(pairs["epsilon"], pairs[FACTOR] if FACTOR in pairs.column_names else None)


def load_answers(folder: Path, rows: SftRows) -> Dataset:
    """Load `prompt` and `completion`: users' corrections and praised answers, the pairs' chosen answers, or both.

    Raises:
        TrainingFailed: as `load_pairs`, or there is no row.
    """
    answers = _load_rows(folder / "sft.parquet", ("prompt", "completion")) if rows != "chosen" else []
    if rows != "sft":
        answers += list_chosen(folder / TRAIN_FILE)
    if not answers:
        raise TrainingFailed(f"the dataset has no answers to imitate (sft_rows: {rows})")
    return make_dataset(answers)


def list_chosen(path: Path) -> list[dict[str, Any]]:
    """List the chosen answer of each pair, as `prompt` and `completion`."""
    return [_describe_prompt(pair) | {"completion": pair["chosen"]} for pair in _load_rows(path, PAIR_COLUMNS)]


def _describe_prompt(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("prompt", TOOLS) if name in row}


def load_labels(path: Path) -> Dataset:
    """Load `prompt`, `completion` and `label` (whether the answer is desirable).

    Raises:
        TrainingFailed: as `load_pairs`, or there is no row.
    """
    rows = _load_rows(path, ("prompt", "completion", "label"))
    if not rows:
        raise TrainingFailed("the dataset has no unpaired labels")
    return make_dataset(rows)


def load_harmful(path: Path) -> list[dict[str, Any]]:
    """Load the answers that users reported as harmful: `prompt`, `completion`, `label` and `epsilon`.

    Raises:
        TrainingFailed: as `load_pairs`.
    """
    return _load_rows(path, ("prompt", "completion", "label", "epsilon"))


def split_pairs(path: Path) -> Dataset:
    """Load each side of each pair as a labelled row of its own."""
    rows = [
        _describe_prompt(pair) | {"completion": pair[side], "label": side == "chosen"}
        for pair in _load_rows(path, PAIR_COLUMNS)
        for side in ("chosen", "rejected")
    ]
    return make_dataset(rows)


def load_prompts(path: Path) -> Dataset:
    """Load the different prompts of the pairs in order of appearance, as `prompt`.

    Raises:
        TrainingFailed: as `load_pairs`, or there is no row.
    """
    prompts = {json.dumps(row): row for row in _load_rows(path, ("prompt",))}
    if not prompts:
        raise TrainingFailed("the dataset has no prompts")
    return make_dataset(list(prompts.values()))


def _load_rows(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    if not path.is_file():
        raise TrainingFailed(f"the dataset has no {path.name}")
    names = pq.read_schema(path).names
    if missing := [column for column in columns if column not in names]:
        raise TrainingFailed(f"{path.name} has no column {', '.join(missing)}")
    rows: list[dict[str, Any]] = pq.read_table(
        path, columns=[*columns, *(name for name in (*optional, TOOLS) if name in names)]
    ).to_pylist()
    return [_read_conversation(row) for row in rows]


def _read_conversation(row: dict[str, Any]) -> dict[str, Any]:
    """A row as model servers saw its prompt; without tools it has no such column."""
    tools = {} if row.get(TOOLS) is None else {TOOLS: row[TOOLS]}
    others = {name: value for name, value in row.items() if name != TOOLS}
    prompt = derive_template_messages(row["prompt"])
    return others | {"prompt": prompt if _is_held(prompt) else NOT_HELD} | tools


NOT_HELD: list[Message] = []
"""In place of a prompt that a column cannot give back as it was: no template renders it, and so its row is refused."""


def _is_held(prompt: list[Message]) -> bool:
    """Whether a column gives the prompt's calls back: it rounds numbers, and takes none beyond 64 bits."""
    column = Json()
    calls = [message["tool_calls"] for message in prompt if "tool_calls" in message]
    try:
        return json.dumps([column.decode_example(column.encode_example(call)) for call in calls]) == json.dumps(calls)
    except (ValueError, OverflowError, RecursionError):
        return False


def make_dataset(rows: list[dict[str, Any]]) -> Dataset:
    """Make a dataset of rows; prompts with calls of tools keep each message as it is.

    Arrow gives every message of a column the same fields, null where one had none, and some chat templates ask
    whether a field is there.
    """
    has_tools = any(TOOLS in row for row in rows)
    even = [{**row, TOOLS: row.get(TOOLS)} for row in rows] if has_tools else rows
    even = [{**row, MODE: mode} if (mode := choose_mode(row)) else row for row in even]
    if all(message.keys() == {"role", "content"} for row in rows for message in row["prompt"]):
        return Dataset.from_list(even)
    others = Dataset.from_list([{name: value for name, value in row.items() if name != "prompt"} for row in even])
    return Dataset.from_list(even, features=Features({"prompt": List(Json()), **others.features}))


MODE = "chat_template_kwargs"
"""Column from which TRL takes what to tell the chat template besides."""


def choose_mode(row: dict[str, Any]) -> dict[str, bool]:
    """Choose how a thinking template (Qwen3, GLM) renders a row.

    The answers of a dataset were given without thoughts. The template writes empty ones before each; so that they are
    not taught they belong to the prompt, as where the model is served without thinking. A prompt alone is left open.
    """
    return {"enable_thinking": False} if any(column in row for column in ANSWER_COLUMNS) else {}


ANSWER_COLUMNS = ("chosen", "rejected", "completion")


def keep_renderable(rows: Dataset, tokenizer: Any) -> Dataset:
    """Keep the rows whose training text begins with what was served.

    Others a chat template refuses, or writes otherwise once an answer follows: Mistral's, for one, then leaves out the
    system's turn and the tools.
    """
    return rows.filter(lambda row: is_renderable(row, tokenizer))


def keep_trainable(rows: Dataset, tokenizer: Any, limit: int) -> tuple[Dataset, Counter[str]]:
    """Keep the renderable rows that teach something; returns them, and the others by the reason why not.

    - the prompt leaves room for a token of the answer within `limit` tokens: a loss over no token is no number
    - an answer that is imitated or preferred is not empty
    """
    return _keep(rows, lambda row: _find_refusal(row, tokenizer, limit))


def keep_answerable(prompts: Dataset, tokenizer: Any, room: int) -> tuple[Dataset, Counter[str]]:
    """Keep the prompts of at most `room` tokens; returns them, and the others by the reason why not."""

    def find(row: dict[str, Any]) -> Refusal | None:
        return _find_refusal(row, tokenizer, room + 1)

    return _keep(prompts, find)


def _keep(rows: Dataset, find: Callable[[dict[str, Any]], Refusal | None]) -> tuple[Dataset, Counter[str]]:
    found = [find(row) for row in rows]
    kept = rows.select([index for index, refusal in enumerate(found) if refusal is None])
    return kept, Counter(refusal for refusal in found if refusal)


def _find_refusal(row: dict[str, Any], tokenizer: Any, limit: int) -> Refusal | None:
    if not is_renderable(row, tokenizer):
        return "unrenderable"
    if not _is_answered(row):
        return "no_answer"
    length = len(render_prompt(row, tokenizer, tokenize=True, return_dict=False))
    return None if length < limit else "no_room"


def _is_answered(row: dict[str, Any]) -> bool:
    """An empty answer may be rejected, or labelled undesirable, but not be learnt."""
    wanted = row.get("chosen") or (row.get("completion") if row.get("label") is not False else None)
    return wanted is None or any(_says_something(message) for message in wanted)


def _says_something(message: dict[str, Any]) -> bool:
    content = message.get("content")
    return bool(content.strip() if isinstance(content, str) else content) or bool(message.get("tool_calls"))


def is_renderable(row: dict[str, Any], tokenizer: Any) -> bool:
    """Tell whether a row's training text begins with what was served."""
    if row["prompt"] == NOT_HELD:
        return False
    answers = [row[column] for column in ANSWER_COLUMNS if row.get(column)]
    try:
        prompt = render_prompt(row, tokenizer, tokenize=False)
        return all(render_conversation(row, answer, tokenizer, tokenize=False).startswith(prompt) for answer in answers)
    except (TemplateError, TypeError):
        return False


def render_prompt(row: dict[str, Any], tokenizer: Any, **options: Any) -> Any:
    """Render a row's prompt, with its tools, up to where the answer begins."""
    options |= choose_mode(row) | {"tools": _read_tools(row), "add_generation_prompt": True}
    return tokenizer.apply_chat_template(row["prompt"], **options)


def render_conversation(row: dict[str, Any], answer: list[Message], tokenizer: Any, **options: Any) -> Any:
    """Render a row's prompt, with its tools, and an answer to it."""
    options |= choose_mode(row) | {"tools": _read_tools(row)}
    return tokenizer.apply_chat_template(row["prompt"] + answer, **options)


def _read_tools(row: dict[str, Any]) -> list[Tool] | None:
    return json.loads(row[TOOLS]) if row.get(TOOLS) else None
