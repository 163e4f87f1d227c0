"""Rows without padding, and answers' log-probabilities a chunk at a time, change nothing but time and memory."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from services.trainer.adapters.methods.likelihoods import answer_likelihood, packed_attention  # noqa: E402
from services.trainer.adapters.methods.likelihoods.answer_likelihood import measure_likelihood  # noqa: E402
from services.trainer.adapters.methods.likelihoods.packing import pack_rows, score_pack, take_up_kernel  # noqa: E402
from services.trainer.adapters.methods.likelihoods.pair_scores import score_shared  # noqa: E402
from tests.unit.trainer.methods.test_prefix_sharing import make_batch  # noqa: E402
from tests.unit.trainer.tiny_model import save_tiny_model  # noqa: E402

IDS = [[5, 6, 7, 8, 0, 0], [1, 2, 3, 4, 5, 6]]
LABELS = [[-100, -100, 7, 8, -100, -100], [-100, 2, -100, 4, 5, 6]]


def make_rows() -> dict[str, Any]:
    ids = torch.tensor(IDS)
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor(LABELS)}


def test_a_pack_leaves_padding_out_and_never_predicts_another_rows_token():
    pack = pack_rows(make_rows(), longest=8)
    assert pack.input_ids.tolist() == [[5, 6, 7, 8, 1, 2, 3, 4, 5, 6]]
    assert pack.position_ids.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 4, 5]]
    assert pack.layout.cu_seq_lens_q.tolist() == pack.layout.cu_seq_lens_k.tolist() == [0, 4, 10]
    assert pack.kept.tolist() == [1, 2, 4, 6, 7, 8]
    assert pack.targets.tolist() == [7, 8, 2, 4, 5, 6]
    assert pack.rows.tolist() == [0, 0, 1, 1, 1, 1]
    seen = [sum(row) for row in pack.attention_mask[0, 0].tolist()]
    assert seen == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6]


def test_the_loss_and_its_gradients_are_those_of_the_padded_batch(tmp_path: Path):
    model = AutoModelForCausalLM.from_pretrained(save_tiny_model(tmp_path), dtype=torch.float32)
    rows = make_rows()
    padded = model(**rows).loss
    packed = -score_pack(model, pack_rows(rows, longest=8), with_kernel=False).logps.mean()
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in (padded, packed)]
    torch.testing.assert_close(packed, padded)
    for wanted, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kept_bytes", [0, 1 << 30])
@pytest.mark.parametrize("tokens", [5, 16])
def test_log_probabilities_entropies_and_gradients_are_torchs(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int, tokens: int
):
    monkeypatch.setattr(answer_likelihood, "CHUNK_TOKENS", 5)
    monkeypatch.setattr(answer_likelihood, "KEPT_BYTES", kept_bytes)
    torch.manual_seed(0)
    hidden, weight = torch.randn(tokens, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    targets, slopes = torch.randint(50, (tokens,)), torch.randn(tokens)
    found = measure_likelihood(hidden, weight, targets)
    wanted = F.log_softmax(hidden @ weight.t(), dim=-1)
    torch.testing.assert_close(found.logps, wanted.gather(1, targets[:, None])[:, 0])
    torch.testing.assert_close(found.entropies, -(wanted.exp() * wanted).sum(1).detach())
    assert found.hits.tolist() == (wanted.argmax(1) == targets).float().tolist()
    gradients = [
        torch.autograd.grad((logps * slopes).sum(), (hidden, weight))
        for logps in (found.logps, wanted.gather(1, targets[:, None])[:, 0])
    ]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_frozen_head_gets_no_gradient():
    hidden, weight = torch.randn(4, 8, requires_grad=True), torch.randn(50, 8)
    measure_likelihood(hidden, weight, torch.tensor([1, 2, 3, 4])).logps.sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_on_a_cpu_a_model_keeps_its_own_attention(tmp_path: Path):
    model = AutoModelForCausalLM.from_pretrained(save_tiny_model(tmp_path), dtype=torch.float32)
    assert not take_up_kernel(model, lambda: torch.autocast("cpu", torch.bfloat16), longest=64)
    assert model.config._attn_implementation == "sdpa"


def attend_plainly(
    query: Any, key: Any, value: Any, ends_q: Any, ends_k: Any, *_: int, scale: float, window_size: Any, **__: Any
) -> Any:
    """In place of the GPU's kernel: sequence by sequence, causal towards the last key."""
    assert window_size == (-1, 0)
    outputs = []
    for index in range(len(ends_q) - 1):
        q = query[ends_q[index] : ends_q[index + 1]].transpose(0, 1)
        k, v = (each[ends_k[index] : ends_k[index + 1]].transpose(0, 1) for each in (key, value))
        sees = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1])
        outputs.append(F.scaled_dot_product_attention(q, k, v, attn_mask=sees, scale=scale, enable_gqa=True))
    return torch.cat(outputs, dim=1).transpose(0, 1)


def test_what_the_kernel_is_given_is_what_the_mask_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = AutoModelForCausalLM.from_pretrained(save_tiny_model(tmp_path), dtype=torch.float32)
    pairs, rows = make_batch([([5, 6], [7, 8], [9]), ([1], [2], [3, 4])]), make_rows()
    padded = model(**rows).logits
    wanted = score_shared(model, pairs, with_entropy=True), score_pack(model, pack_rows(rows, 8), with_kernel=False)
    monkeypatch.setattr(packed_attention, "varlen_attn", attend_plainly)
    model.set_attn_implementation(packed_attention.PACKED)
    shared = score_shared(model, pairs, with_entropy=True, with_kernel=True, longest=8)
    torch.testing.assert_close(shared.logps_2b, wanted[0].logps_2b)
    torch.testing.assert_close(shared.entropy, wanted[0].entropy)
    torch.testing.assert_close(score_pack(model, pack_rows(rows, 8), with_kernel=True).logps, wanted[1].logps)
    torch.testing.assert_close(model(**rows).logits, padded)  # padded batches go on as before
