"""What is trained on is what was served: the same text from a chat template, in three houses' manners.

A model server hands the request's messages to its template with the arguments of calls as objects, as vLLM does; the
gateway has put their text into canonical form before.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast
from trl.data_utils import apply_chat_template

from services.trainer.adapters.artifacts.dataset import (
    MODE,
    keep_renderable,
    load_pairs,
    render_conversation,
    render_prompt,
)
from shared.conversation import Conversation, canonicalize, explain_unrenderable
from tests.unit.trainer.methods.rendering import (
    ANSWER,
    ASKED,
    CALL,
    CALLED,
    RESULT,
    TEMPLATES,
    THANKS,
    TOOL,
    freeze,
    serve,
)
from tests.unit.trainer.tiny_model import save_tiny_model

PARTS = [{"type": "text", "text": " Where is"}, {"type": "text", "text": "it? "}]

CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "plain": ([ASKED], []),
    "parts": (
        [{"role": "user", "content": [{"type": "text", "text": " Where is"}, {"type": "text", "text": "it? "}]}],
        [],
    ),
    "developer": ([{"role": "developer", "content": "Be brief."}, ASKED], []),
    "several turns": (
        [{"role": "system", "content": "Be brief."}, ASKED, *ANSWER, {"role": "user", "content": "Thanks!"}],
        [],
    ),
    "decomposed": ([{"role": "user", "content": "Un cafe\u0301?"}], []),
    "tools offered": ([ASKED], [TOOL]),
    "a call and its result": (CALLED, [TOOL]),
    "a turn after a call": ([*CALLED, *ANSWER, {"role": "user", "content": "And A-18?"}], [TOOL]),
    "a refusal": ([ASKED, {"role": "assistant", "content": None, "refusal": "I can't help. "}, THANKS], []),
    "thoughts with spaces before a call": ([ASKED, CALLED[1] | {"reasoning_content": " Look. "}, RESULT], [TOOL]),
    "the retired function_call": (
        [
            ASKED,
            {"role": "assistant", "content": None, "function_call": CALL["function"]},
            {"role": "function", "name": "order_lookup", "content": '{"state": "shipped"}'},
        ],
        [TOOL],
    ),
    "thoughts": ([ASKED, {**ANSWER[0], "reasoning_content": "A date."}, THANKS], []),
}

LEFT_OUT = {("mistral", name) for name in ("developer", "several turns", "tools offered", "a turn after a call")}
"""Mistral's template drops the system's turn and the tools as soon as an answer follows."""


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = save_tiny_model(tmp_path_factory.mktemp("model"))
    found = {}
    for path in sorted(TEMPLATES.glob("*.jinja")):
        found[path.stem] = PreTrainedTokenizerFast.from_pretrained(folder)
        found[path.stem].chat_template = path.read_text()
    return found


@pytest.mark.parametrize("template", ["llama", "mistral", "qwen"])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_training_row_has_the_text_that_was_served(
    tmp_path: Path, tokenizers: dict[str, Any], template: str, name: str
):
    tokenizer = tokenizers[template]
    request, tools = CONVERSATIONS[name]
    served = serve(request, tools, tokenizer)
    others = [Conversation(canonicalize(asked), offered) for asked, offered in CONVERSATIONS.values()]
    rows = load_pairs(freeze(tmp_path / "train.parquet", Conversation(canonicalize(request), tools), *others))
    assert render_prompt(rows[0], tokenizer, tokenize=False) == served
    kept = keep_renderable(rows.select([0]), tokenizer)
    assert (template, name) in LEFT_OUT or len(kept) == 1
    for row in kept:
        given = json.loads(row["tools"]) if row["tools"] else None
        columns = {column: row[column] for column in ("prompt", "chosen", "rejected", MODE)}
        by_trl = apply_chat_template(columns, tokenizer, tools=given)
        whole = str(render_conversation(row, ANSWER, tokenizer, tokenize=False))
        assert (by_trl["prompt"], by_trl["prompt"] + by_trl["chosen"]) == (served, whole)


def test_a_row_that_its_template_writes_otherwise_in_training_is_left_out(tmp_path: Path, tokenizers: dict[str, Any]):
    for template, name in LEFT_OUT:
        request, tools = CONVERSATIONS[name]
        rows = load_pairs(freeze(tmp_path / "train.parquet", Conversation(canonicalize(request), tools)))
        assert len(keep_renderable(rows, tokenizers[template])) == 0, (template, name)


def test_every_conversation_of_this_table_is_one_that_a_snapshot_takes():
    assert {explain_unrenderable(canonicalize(asked)) for asked, _ in CONVERSATIONS.values()} == {None}
