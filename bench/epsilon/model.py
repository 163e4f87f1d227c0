"""A language model of one layer that reads the made-up shop's words, and how well it ranks answers it has not seen."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.noise.world import WORDS, Item

QUESTION = [{"role": "user", "content": "?"}]
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }} <|end|> {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)
MARKS = ["<|endoftext|>", "<|unknown|>", "<|end|>", "<|user|>", "<|assistant|>", "?"]
WIDTH = 64
BATCH = 100


def save_parent(folder: Path, seed: int) -> None:
    """Knows nothing: its weights are random."""
    vocabulary = {word: index for index, word in enumerate(MARKS + WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unknown|>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure_accuracy(parent: Path, candidate: Path, items: Sequence[Item]) -> float:
    """Share of items of which the policy, beside its parent, made the truly better answer more likely."""
    with torch.no_grad():
        gains = _score(candidate, items) - _score(parent, items)
    return float((gains[:, 0] > gains[:, 1]).float().mean())


def _score(folder: Path, items: Sequence[Item]) -> torch.Tensor:
    """Log-probabilities of (better, worse), shape (items, 2). All answers are of one length."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompt = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=True, return_dict=False)
    rows = [prompt + tokenizer.encode(text) for item in items for text in (item.better, item.worse)]
    scores = []
    for start in range(0, len(rows), BATCH):
        ids = torch.tensor(rows[start : start + BATCH])
        logps = model(ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
        scores.append(logps[:, len(prompt) - 1 :].sum(-1))
    return torch.cat(scores).view(-1, 2)
