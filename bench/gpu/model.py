"""What `make gpu-check` trains: randomly initialised models of real shapes, made where they are used, and pairs whose
lengths differ as people's do."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.gpu.flops import Network, Tokens

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<end>{% endif %}{% endfor %}"
PAD, END = "<pad>", "<end>"
WORDS = [f"w{number}" for number in range(200)]


@dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool = True

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    def describe(self, adapter_rank: int = 0) -> Network:
        """Describe it without biases and norms, which cost next to nothing."""
        pairs = [  # in and out of each linear module of a layer
            (self.hidden, self.heads * self.head_size),
            *[(self.hidden, self.key_value_heads * self.head_size)] * 2,
            (self.heads * self.head_size, self.hidden),
            *[(self.hidden, self.intermediate)] * 3,
        ]
        layers = self.layers * sum(inward * outward for inward, outward in pairs)
        head = self.vocabulary * self.hidden
        return Network(
            parameters=layers + head * (1 if self.tied else 2),
            layers=layers,
            head=head,
            attention=self.layers * self.heads * self.head_size,
            adapter=adapter_rank * self.layers * sum(inward + outward for inward, outward in pairs),
        )


SHAPES = {
    "0.5b": Shape(896, 4864, 24, 14, 2, 151936),
    "1.5b": Shape(1536, 8960, 28, 12, 2, 151936),
    "8b": Shape(4096, 14336, 32, 32, 8, 128256, tied=False),
    "tiny": Shape(64, 128, 2, 4, 2, 512),
}
"""Of Qwen2.5 0.5B and 1.5B and of Llama 3 8B, and one for a dry run; all in the code of Llama."""


def write_model(
    folder: Path, shape: Shape, *, scores: bool = False, dtype: str = "bfloat16", spread: float = 0.02
) -> None:
    """Write a chat model or, where it `scores`, a reward model, drawn on the GPU if there is one.

    spread: the standard deviation of its weights
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=4096,
        initializer_range=spread,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype=dtype,
        **({"num_labels": 1} if scores else {}),
    )
    torch.manual_seed(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = (LlamaForSequenceClassification if scores else LlamaForCausalLM)(config)
    finally:
        torch.set_default_dtype(before)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tokenizer() -> Any:
    """Make one that has a token for each word, so that a row's length is known."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate([PAD, END, "?", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    words.add_special_tokens([AddedToken(PAD, special=True), AddedToken(END, special=True)])
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token=PAD, eos_token=END)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@dataclass(frozen=True)
class Lengths:
    """Of prompts and of answers, from and to, in tokens."""

    prompt: tuple[int, int]
    answer: tuple[int, int]

    @property
    def longest(self) -> int:
        return self.prompt[1] + self.answer[1] + 1  # the token that ends an answer


@dataclass(frozen=True)
class Pair:
    prompt: int
    chosen: int
    rejected: int

    def count_alone(self) -> Tokens:
        """Return the chosen answer with its prompt, as SFT reads it."""
        return _count(0, self.prompt, 0) + _count(self.prompt, self.chosen, self.chosen)

    def count_shared(self) -> Tokens:
        """Read both answers behind one prompt."""
        return self.count_alone() + _count(self.prompt, self.rejected, self.rejected)


def _count(before: int, tokens: int, answers: int) -> Tokens:
    return Tokens(tokens, answers, tokens * before + tokens * (tokens + 1) // 2)


def write_dataset(folder: Path, *, rows: int, lengths: Lengths, seed: int = 0) -> list[Pair]:
    """Write pairs, the chosen side of each as an answer to imitate, and both sides as labels. What is chosen counts
    upwards from a number in the prompt, what is rejected counts downwards: there is something to learn.
    """
    source = random.Random(seed)
    written, counted = [], []
    for _ in range(rows):
        prompt, chosen, rejected = (source.randint(*span) for span in (lengths.prompt, lengths.answer, lengths.answer))
        start = source.randrange(len(WORDS))
        written.append(
            {
                "prompt": [_say("user", [start, *(source.randrange(len(WORDS)) for _ in range(prompt - 1))])],
                "chosen": [_say("assistant", range(start, start + chosen))],
                "rejected": [_say("assistant", range(start, start - rejected, -1))],
                "epsilon": 0.0,
            }
        )
        counted.append(Pair(prompt, chosen + 1, rejected + 1))
    labels = [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in written
        for side in ("chosen", "rejected")
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(written), folder / "train.parquet")
    pq.write_table(pa.Table.from_pylist(written[:4]), folder / "validation.parquet")
    pq.write_table(pa.Table.from_pylist(labels), folder / "labels.parquet")
    return counted


def _say(role: str, numbers: Any) -> dict[str, str]:
    return {"role": role, "content": "".join(f"{WORDS[number % len(WORDS)]} " for number in numbers)}
