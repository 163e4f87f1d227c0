"""Tiny random Llamas."""

import pytest

QUESTIONS = ("Where is my toaster?", "Can I return the lamp that I bought on Monday?", "Why?", "Is the rug blue?")
TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make two random models, by version, each with a byte-level BPE of 400 words."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    special = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    bpe.train_from_iterator(QUESTIONS, vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, eos_token="<|end|>", additional_special_tokens=special[1:]
    )
    tokenizer.chat_template = TEMPLATE
    folders = {}
    for version in ("1", "2"):
        torch.manual_seed(int(version))
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=400,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=128,
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=0,
            )
        )
        model.generation_config.do_sample = True
        folder = tmp_path_factory.mktemp(f"version {version}")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folders[version] = str(folder)
    return folders
