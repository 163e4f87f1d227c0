"""A chat model of a few thousand parameters, its tokenizer, and preference pairs, made in a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TOPICS = ["order", "refund", "invoice", "parcel", "account", "voucher", "address", "delivery"]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_tiny_model(folder: Path, seed: int = 7, texts: Sequence[str] = (), vocab_size: int = 400) -> Path:
    """A random Llama (2 layers, width 32) with a byte-level BPE of these texts, pad = eos as SmolLM2 has it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = texts or [text for pair in make_pairs(16) for text in list_texts(pair)]
    words.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = CHAT_TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_pairs(count: int, epsilon: float = 0.1) -> list[dict[str, Any]]:
    return [
        {
            "pair_id": str(index),
            "prompt": [{"role": "user", "content": f"Where is my {TOPICS[index % 8]} number {index}?"}],
            "chosen": [{"role": "assistant", "content": f"Your {TOPICS[index % 8]} is here. Open My Orders."}],
            "rejected": [{"role": "assistant", "content": "Thank you for asking, how nice to hear from you today!"}],
            "epsilon": epsilon,
            "rule": "choice",
        }
        for index in range(count)
    ]


def list_texts(pair: dict[str, Any]) -> list[str]:
    return [message["content"] for side in ("prompt", "chosen", "rejected") for message in pair[side]]


def save_dataset(folder: Path, pairs: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(pairs), folder / "train.parquet")
    pq.write_table(pa.Table.from_pylist(pairs[:4]), folder / "validation.parquet")
    return folder
