"""Padding that can be told from the end of an answer."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from services.trainer.adapters.methods.models import check_padding, load_tokenizer
from services.trainer.domain.training import TrainingFailed


def save_tokenizer(folder: Path, *spare: str, pad: str | None = "<|eot_id|>") -> Path:
    """A tokenizer as Llama 3's chat models have it: an answer ends with its padding token."""
    vocabulary = {word: index for index, word in enumerate(["<|eot_id|>", "hello", *spare])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="hello"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|eot_id|>", pad_token=pad).save_pretrained(folder)
    return folder


def test_padding_is_a_spare_token_where_the_bases_own_is_the_end_of_an_answer(tmp_path: Path):
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, "<|finetune_right_pad_id|>"))
    assert tokenizer.pad_token == "<|finetune_right_pad_id|>"
    check_padding(tokenizer)


def test_padding_of_its_own_stays(tmp_path: Path):
    assert load_tokenizer(save_tokenizer(tmp_path, "<pad>", "mine", pad="mine")).pad_token == "mine"


def test_a_reward_model_is_not_trained_with_padding_that_ends_answers(tmp_path: Path):
    tokenizer = load_tokenizer(save_tokenizer(tmp_path))
    with pytest.raises(TrainingFailed, match="is also the end of an answer, so scores would be read one token early"):
        check_padding(tokenizer)
