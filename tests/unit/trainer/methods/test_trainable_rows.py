"""Rows that teach nothing are left out before they make a loss that is no number."""

from typing import Any

import pytest

pytest.importorskip("torch")

from services.trainer.adapters.artifacts.dataset import keep_trainable, make_dataset
from services.trainer.adapters.methods.models import load_tokenizer
from tests.unit.trainer.tiny_model import make_pairs, save_tiny_model

EMPTY = [{"role": "assistant", "content": " \n"}]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(save_tiny_model(tmp_path_factory.mktemp("tiny")))


def count(rows: list[dict[str, Any]], tokenizer: Any, limit: int = 96) -> int:
    return len(keep_trainable(make_dataset(rows), tokenizer, limit))


def test_a_prompt_that_fills_the_length_leaves_no_answer_to_learn(tokenizer: Any):
    pair = make_pairs(1)[0]
    prompt = tokenizer.apply_chat_template(pair["prompt"], add_generation_prompt=True, return_dict=False)
    assert count([pair], tokenizer, len(prompt)) == 0
    assert count([pair], tokenizer, len(prompt) + 1) == 1


def test_an_empty_answer_is_not_preferred_or_imitated_but_may_be_rejected(tokenizer: Any):
    pair = make_pairs(1)[0]
    assert count([pair | {"chosen": EMPTY}], tokenizer) == 0
    assert count([pair | {"rejected": EMPTY}], tokenizer) == 1
    answer = {"prompt": pair["prompt"], "completion": EMPTY}
    assert count([answer], tokenizer) == 0
    assert [count([answer | {"label": label}], tokenizer) for label in (True, False)] == [0, 1]
