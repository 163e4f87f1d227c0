"""What `rloo` and `ppo` share: the reward model that they climb, and how sampling breaks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from services.trainer.adapters.policy import load_tokenizer
from services.trainer.adapters.reward import is_reward_model
from services.trainer.domain.training import TrainingFailed


def load_reward_model(folder: Path, tokenizer: Any) -> Any:
    """The reward model, which must read the policy's tokens.

    Raises:
        TrainingFailed: the folder holds none, or one with another vocabulary.
    """
    if not is_reward_model(folder):
        raise TrainingFailed(f"reward_model: {str(folder)!r} holds no reward model; train one by the method reward")
    if load_tokenizer(folder).get_vocab() != tokenizer.get_vocab():
        raise TrainingFailed("reward_model: its vocabulary is not the policy's; train it from the same base")
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


@contextmanager
def explain_broken_sampling() -> Iterator[None]:
    """A policy whose weights are no numbers fails while it answers, before a guard sees its loss.

    Raises:
        TrainingFailed: in place of torch's message.
    """
    try:
        yield
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):
            raise
        raise TrainingFailed("the policy's token probabilities are nan: its weights are no longer numbers") from error
