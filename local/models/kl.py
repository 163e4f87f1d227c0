"""KL divergence of one checkpoint from another: `python -m local.models.kl MODEL ANCHOR ANSWERS_JSON`."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from shared.artifacts.models import ADAPTER, find_base, is_adapter


def calculate_kl(model_folder: str, anchor_folder: str, answers: list[tuple[list[dict[str, str]], str]]) -> float:
    """Return the mean over all answer tokens of sum_v p(v) (log p(v) - log q(v)), in nats; p of the model, q of the
    anchor.

    Exact over the vocabulary at each position; the positions are those of the model's own answers.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model, anchor = (_load(Path(each)) for each in (model_folder, anchor_folder))
    total, tokens = 0.0, 0
    for messages, text in answers:
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        ids: Any = tokenizer(prompt + text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        if ids.shape[1] <= start:
            continue
        with torch.no_grad():
            p, q = (each(ids).logits[0, start - 1 : -1].log_softmax(-1) for each in (model, anchor))
        total += float((p.exp() * (p - q)).sum())
        tokens += len(p)
    return total / max(tokens, 1)


def _load(folder: Path) -> Any:
    """Load whole weights, or an adapter on its base."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(find_base(folder))
    return (PeftModel.from_pretrained(model, folder / ADAPTER) if is_adapter(folder) else model).eval()


def main() -> None:
    model, anchor, path = sys.argv[1:]
    sys.stdout.write(json.dumps({"kl": calculate_kl(model, anchor, json.loads(Path(path).read_text()))}))


if __name__ == "__main__":
    main()
