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
    kept, refusals = keep_trainable(make_dataset(rows), tokenizer, limit)
    assert len(kept) + refusals.total() == len(rows)
    return len(kept)


def test_a_prompt_that_fills_the_length_leaves_no_answer_to_learn(tokenizer: Any):
    pair = make_pairs(1)[0]
    prompt = tokenizer.apply_chat_template(pair["prompt"], add_generation_prompt=True, return_dict=False)
    assert count([pair], tokenizer, len(prompt)) == 0
    assert count([pair], tokenizer, len(prompt) + 1) == 1


def test_each_refused_row_is_counted_under_its_reason(tokenizer: Any):
    pair = make_pairs(1)[0]
    strange = pair | {"prompt": [{"role": "user"}]}
    long = pair | {"prompt": [{"role": "user", "content": "Where is it? " * 40}]}
    rows = make_dataset([pair, long, long, pair | {"chosen": EMPTY}])
    assert keep_trainable(rows, tokenizer, 96)[1] == {"no_room": 2, "no_answer": 1}
    assert keep_trainable(make_dataset([strange]), Unrenderable(tokenizer), 96)[1] == {"unrenderable": 1}


class Unrenderable:
    """A tokenizer whose template refuses a message without content."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def apply_chat_template(self, messages: Any, **options: Any) -> Any:
        if any(message.get("content") is None for message in messages):
            raise TypeError("no content")
        return self._tokenizer.apply_chat_template(messages, **options)


def test_an_empty_answer_is_not_preferred_or_imitated_but_may_be_rejected(tokenizer: Any):
    pair = make_pairs(1)[0]
    assert count([pair | {"chosen": EMPTY}], tokenizer) == 0
    assert count([pair | {"rejected": EMPTY}], tokenizer) == 1
    answer = {"prompt": pair["prompt"], "completion": EMPTY}
    assert count([answer], tokenizer) == 0
    assert [count([answer | {"label": label}], tokenizer) for label in (True, False)] == [0, 1]
