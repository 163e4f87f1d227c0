"""With the chat templates that models really come with (TRL ships them): no row teaches thoughts that nobody had."""

import json
from pathlib import Path
from typing import Any

import pytest
import trl
from transformers import PreTrainedTokenizerFast
from trl.data_utils import apply_chat_template

from services.trainer.adapters.artifacts.dataset import MODE, keep_trainable, load_pairs, render_prompt
from shared.conversation import Conversation, canonicalize
from tests.unit.trainer.methods.rendering import ANSWER, ASKED, CALLED, THANKS, TOOL, freeze
from tests.unit.trainer.tiny_model import save_tiny_model

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
SEEN = [
    Conversation(canonicalize([{"role": "system", "content": "Be brief."}, ASKED, *ANSWER, THANKS])),
    Conversation(canonicalize([ASKED, {**ANSWER[0], "reasoning_content": "A date."}, THANKS])),
    Conversation(canonicalize(CALLED), [TOOL]),
]
TEXT = ANSWER[0]["content"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def read_kept(model: Path, folder: Path, template: str) -> list[dict[str, str]]:
    """(prompt, chosen, rejected) as TRL writes the rows that are kept."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.chat_template = min(TEMPLATES.glob(f"{template}.jinja")).read_text()
    kept, refused = keep_trainable(load_pairs(freeze(folder / "train.parquet", *SEEN)), tokenizer, 10_000)
    assert len(kept) + refused["unrenderable"] == len(SEEN)
    return [_write(row, tokenizer) for row in kept]


def _write(row: dict[str, Any], tokenizer: Any) -> dict[str, str]:
    columns = {name: row[name] for name in ("prompt", "chosen", "rejected", MODE)}
    written = apply_chat_template(columns, tokenizer, tools=json.loads(row["tools"]) if row["tools"] else None)
    assert written["prompt"] == render_prompt(row, tokenizer, tokenize=False)
    return dict(written)


@pytest.mark.parametrize("template", ["qwen3", "qwen3_6", "qwen3_5_think", "qwen3_8", "glm4moe"])
def test_empty_thoughts_stand_in_the_prompt_where_no_loss_counts(model: Path, tmp_path: Path, template: str):
    rows = read_kept(model, tmp_path, template)
    assert len(rows) == len(SEEN)
    for row in rows:
        assert row["prompt"].rstrip().endswith("</think>")
        assert row["chosen"].lstrip().startswith(TEXT)
        assert "think" not in row["chosen"] + row["rejected"]


@pytest.mark.parametrize("template", ["qwen2_5", "qwen3_instruct_2507", "llama3", "llama3_2", "phi3"])
def test_a_template_without_thoughts_renders_every_row(model: Path, tmp_path: Path, template: str):
    rows = read_kept(model, tmp_path, template)
    assert len(rows) == len(SEEN)
    assert all(row["chosen"].startswith(TEXT) for row in rows)


@pytest.mark.parametrize("template", ["deepseek_r1_*", "deepseekv3", "gptoss", "gemma3"])
def test_what_a_template_cannot_render_as_it_was_served_is_refused_and_counted(
    model: Path, tmp_path: Path, template: str
):
    for row in read_kept(model, tmp_path, template):
        assert TEXT in row["chosen"]
        assert "think" not in row["chosen"]
