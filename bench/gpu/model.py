"""What `make gpu-check` trains: a randomly initialised model of a real architecture, and rows of one length."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
PAD, END = "<pad>", "<end>"
WORD = "a "


@dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int


SHAPES = {
    "0.5b": Shape(896, 4864, 24, 14, 2, 151936),
    "1.5b": Shape(1536, 8960, 28, 12, 2, 151936),
    "tiny": Shape(64, 128, 2, 4, 2, 256),
}
"""Qwen2's of that size, and one for a dry run."""


def write_models(folder: Path, shape: Shape) -> int:
    """`folder/parent` and, with a head that scores, `folder/judge`. Returns the parent's number of weights."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2ForSequenceClassification

    torch.manual_seed(1)
    tokenizer = _make_tokenizer()
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    for name, each in (("parent", model), ("judge", Qwen2ForSequenceClassification(_with_one_label(config)))):
        each.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return int(sum(parameter.numel() for parameter in model.parameters()))


def _with_one_label(config: Any) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(**(config.to_dict() | {"num_labels": 1}))


def _make_tokenizer() -> Any:
    """A token for each word, so that a row's length is known."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate([PAD, END, "?", *"abcdefghij"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token=PAD, eos_token=END)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def write_dataset(folder: Path, *, rows: int, length: int) -> None:
    """Pairs of which prompt and answer have `length` tokens together, half of them the prompt's."""
    half = length // 2
    pairs = [
        {
            "prompt": [{"role": "user", "content": " ".join("abcdefghij"[(row + i) % 10] for i in range(half)) + " "}],
            "chosen": [{"role": "assistant", "content": WORD * half}],
            "rejected": [{"role": "assistant", "content": "b " * half}],
            "epsilon": 0.1,
        }
        for row in range(rows)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(pairs), folder / "train.parquet")
    pq.write_table(pa.Table.from_pylist(pairs[:2]), folder / "validation.parquet")
