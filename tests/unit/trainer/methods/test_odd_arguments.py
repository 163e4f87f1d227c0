"""Whatever stands in the arguments of a call, its row alone is refused or has the text that was served."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from services.trainer.adapters.artifacts.dataset import keep_trainable, load_pairs, render_prompt
from shared.conversation import Conversation, canonicalize
from tests.unit.trainer.methods.rendering import ANSWER, ASKED, CALL, RESULT, TEMPLATES, TOOL, freeze, serve
from tests.unit.trainer.tiny_model import save_tiny_model

DEEP = '{"q":' + "[" * 3000 + "]" * 3000 + "}"


def request(arguments: str) -> list[dict[str, Any]]:
    call = {**CALL, "function": {"name": "order_lookup", "arguments": arguments}}
    return [ASKED, {"role": "assistant", "content": None, "tool_calls": [call]}, RESULT]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(save_tiny_model(tmp_path_factory.mktemp("model")))
    tokenizer.chat_template = (TEMPLATES / "qwen.jinja").read_text()
    return tokenizer


def train_on(arguments: str, tokenizer: Any) -> str | None:
    """The text before the answer to a call with these arguments; None where the row is refused. Two others stay."""
    seen = [[ASKED], request(arguments), request('{"order": "A-17"}')]
    with tempfile.TemporaryDirectory() as folder:
        path = freeze(Path(folder) / "train.parquet", *(Conversation(canonicalize(one), [TOOL]) for one in seen))
        kept, refused = keep_trainable(load_pairs(path), tokenizer, 10_000)
    assert (len(kept), refused.total()) in ((3, 0), (2, 1))
    texts = [render_prompt(row, tokenizer, tokenize=False) for row in kept]
    assert all(row["chosen"] == ANSWER for row in kept)
    assert texts[-1] == serve(seen[2], [TOOL], tokenizer)
    return texts[1] if len(kept) == 3 else None


@pytest.mark.parametrize(
    "arguments",
    [r'{"q": "\ud83d"}', '{"q": 52.52}', '{"q": "a\\u0000b"}', '{"q":1,"q":2}', "[1]", "{}", "3", '{"q": 1e22}'],
)
def test_arguments_are_trained_on_as_they_were_served(arguments: str, tokenizer: Any):
    assert train_on(arguments, tokenizer) == serve(canonicalize(request(arguments)), [TOOL], tokenizer)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param('{"q": 13.376543210987}', id="many decimals"),
        pytest.param('{"q": 123456789012345678901234567890}', id="beyond 64 bits"),
        pytest.param('{"q": NaN}', id="no number"),
        pytest.param('{"q": 1e999}', id="infinite"),
    ],
)
def test_a_number_that_a_column_does_not_hold_costs_its_row_alone(arguments: str, tokenizer: Any):
    assert train_on(arguments, tokenizer) is None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
WRITTEN = (
    VALUES.map(json.dumps)
    | VALUES.map(lambda value: json.dumps(value, ensure_ascii=False))
    | st.text(st.sampled_from('{}[]",:\\u0d83e '), max_size=16)
    | st.just(DEEP)
)


@settings(max_examples=60, deadline=None)
@given(WRITTEN)
def test_no_arguments_cost_another_row(tokenizer: Any, arguments: str):
    trained = train_on(arguments, tokenizer)
    if trained is not None and is_json(arguments):
        assert trained == serve(canonicalize(request(arguments)), [TOOL], tokenizer)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
