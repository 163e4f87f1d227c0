"""Prompts that a pair's answers share, and no padding, change nothing but the time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
)

from services.trainer.adapters.methods.likelihoods.pair_scores import can_share, score_padded, score_shared  # noqa: E402
from services.trainer.adapters.methods.likelihoods.prefix_sharing import pack_pairs  # noqa: E402
from tests.unit.trainer.tiny_model import save_tiny_model  # noqa: E402

SIZE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def make_batch(pairs: list[tuple[list[int], list[int], list[int]]]) -> dict[str, Any]:
    """Of (prompt, chosen, rejected), as TRL's collator lays them out."""
    rows = [(prompt, chosen) for prompt, chosen, _ in pairs] + [(prompt, rejected) for prompt, _, rejected in pairs]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    fill = [(len(prompt), len(answer), width - len(prompt) - len(answer)) for prompt, answer in rows]
    return {
        "input_ids": torch.tensor([p + a + [0] * rest for (p, a), (_, _, rest) in zip(rows, fill, strict=True)]),
        "attention_mask": torch.tensor([[1] * (p + a) + [0] * rest for p, a, rest in fill]),
        "completion_mask": torch.tensor([[0] * p + [1] * a + [0] * rest for p, a, rest in fill]),
    }


def test_a_pack_has_each_prompt_once_and_says_where_answers_are():
    batch = make_batch([([5, 6], [7, 8], [9]), ([1], [2], [3, 4])])
    [pack] = pack_pairs(batch)
    assert pack.input_ids.tolist() == [[5, 6, 7, 8, 9, 1, 2, 3, 4]]
    assert pack.position_ids.tolist() == [[0, 1, 2, 3, 2, 0, 1, 1, 2]]
    assert pack.kept.tolist() == [1, 2, 1, 5, 5, 7]
    assert pack.targets.tolist() == [7, 8, 9, 2, 3, 4]
    assert pack.rows.tolist() == [0, 0, 2, 1, 3, 3]
    seen = [[column for column, sees in enumerate(row) if sees] for row in pack.attention_mask[0, 0].tolist()]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4], [5], [5, 6], [5, 7], [5, 7, 8]]


def test_pairs_that_do_not_fit_into_a_row_together_have_several():
    batch = make_batch([([1, 2], [3], [4]), ([1], [2], [3]), ([1, 2, 3], [4, 5], [6, 7])])
    assert [pack.input_ids.shape[1] for pack in pack_pairs(batch, limit=7)] == [7, 7]
    assert [pack.input_ids.shape[1] for pack in pack_pairs(batch, limit=6)] == [4, 3, 7]


TOKENS = st.lists(st.integers(1, 250), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoModelForCausalLM.from_pretrained(save_tiny_model(tmp_path_factory.mktemp("tiny")), dtype=torch.float32)


@given(pairs=st.lists(st.tuples(TOKENS, TOKENS, TOKENS), min_size=1, max_size=4))
def test_scores_and_gradients_are_those_of_the_padded_batch(model: Any, pairs: list[Any]):
    found = []
    for score in (score_padded, score_shared):
        model.zero_grad()
        scores = score(model, make_batch(pairs), with_entropy=True)
        (scores.logps_2b / scores.lengths_2b).sum().backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        found.append((scores.logps_2b.detach(), scores.lengths_2b, scores.entropy, gradient))
    for padded, shared in zip(*found, strict=True):
        torch.testing.assert_close(shared, padded, rtol=1e-4, atol=1e-4)


def test_models_whose_attention_takes_the_mask_are_told_from_those_that_do_not():
    torch.manual_seed(0)
    assert can_share(LlamaForCausalLM(LlamaConfig(vocab_size=400, **SIZE)), max_length=512)
    assert can_share(MistralForCausalLM(MistralConfig(vocab_size=400, sliding_window=512, **SIZE)), max_length=512)
    assert not can_share(MistralForCausalLM(MistralConfig(vocab_size=400, sliding_window=8, **SIZE)), max_length=512)
    eager = LlamaForCausalLM._from_config(LlamaConfig(vocab_size=400, **SIZE), attn_implementation="eager")
    assert not can_share(eager, max_length=512)


class Deaf(LlamaModel):  # type: ignore[misc]  # transformers is untyped
    """Goes its own way with the mask, as models without attention do."""

    def forward(self, *args: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        return super().forward(*args, attention_mask=None, **kwargs)


def test_a_model_that_does_not_heed_the_mask_is_found_by_trying():
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=400, **SIZE))
    model.model = Deaf(model.config)
    assert not can_share(model, max_length=512)
