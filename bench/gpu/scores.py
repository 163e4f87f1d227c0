"""What the GPU computes for one batch, beside a CPU in fp32: attention, log-probabilities and gradients."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.gpu.checks import ROWS, Bench, Check, measure_error


def check_kernel(bench: Bench) -> Iterator[Check]:
    """Compare attention over packed rows with plain arithmetic."""
    import torch

    if not torch.cuda.is_available():
        return
    from services.trainer.adapters.methods.likelihoods.packed_attention import TOLERANCE, measure_kernel

    for heads, key_heads, size in ((14, 2, 64), (32, 8, 128)):
        errors = measure_kernel(heads, key_heads, size, torch.device("cuda"))
        for what, error in zip(("attention", "its gradients"), errors, strict=True):
            yield Check(f"packed {what}, {heads} heads of {size}: relative error", error, TOLERANCE)


def check_scores(bench: Bench) -> Iterator[Check]:
    """Compare losses and gradients of one batch, each way, with the padded batch on a CPU in fp32."""
    import torch

    batch = bench.folder, make_pair_batch(bench), make_row_batch(bench)
    wanted = {kind: measure_batch(*batch, kind, "cpu", None) for kind in ("sft", "dpo")}
    ways = [(kind, way, precision) for kind in ("sft", "dpo") for way, precision in list_ways(kind)]
    bounds = {"fp32": (1e-4, 1e-3), "bf16": (0.02, 0.12)}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for kind, way, precision in ways:
        found = measure_batch(*batch, kind, device, torch.bfloat16 if precision == "bf16" else None, way)
        for what, bound, mine, theirs in zip(
            ("log-probabilities", "gradients"), bounds[precision], found, wanted[kind], strict=True
        ):
            yield Check(f"{kind} {way} {precision} {what}: relative error", measure_error(mine, theirs), bound)
    wrong = measure_batch(*batch, "dpo", device, None, "seeing the other answer")[0]
    yield Check("dpo with a wrong mask: relative error, seen", measure_error(wrong, wanted["dpo"][0]), 0.02, "at_least")


def list_ways(kind: str) -> list[tuple[str, str]]:
    import torch

    ways = [("padded", "fp32"), ("padded", "bf16"), ("packed by mask", "fp32"), ("packed by mask", "bf16")]
    return [*ways, ("packed by kernel", "bf16")] if torch.cuda.is_available() else ways


def measure_batch(
    folder: Path, pairs: Any, rows: Any, kind: str, device: str, dtype: Any, way: str = "padded"
) -> tuple[Any, Any]:
    """Return log-probabilities of the answers, and the gradient of a loss of them, both on the CPU in fp32."""
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM

    from services.trainer.adapters.methods.likelihoods.packing import take_up_kernel

    model: nn.Module = AutoModelForCausalLM.from_pretrained(folder / "parent", dtype=torch.float32).to(device)
    given = {name: tensor.to(device) for name, tensor in (pairs if kind == "dpo" else rows).items()}

    def autocast() -> Any:
        return torch.autocast(device, dtype, enabled=dtype is not None)

    if way == "packed by kernel" and not take_up_kernel(model, autocast, 160):
        raise RuntimeError("the model does not take the kernel")
    with autocast():
        logps = (score_pairs if kind == "dpo" else score_rows)(model, given, way)
    weights = torch.linspace(-1, 1, len(logps), device=device) if kind == "dpo" else torch.ones_like(logps)
    (logps * weights).sum().backward()
    gradient = torch.cat([weight.grad.float().flatten() for weight in model.parameters() if weight.grad is not None])
    return logps.detach().float().cpu(), gradient.cpu()


def score_pairs(model: Any, batch: Any, way: str) -> Any:
    from services.trainer.adapters.methods.likelihoods.pair_scores import score_padded, score_shared

    if way == "padded":
        return score_padded(model, batch, with_entropy=False).logps_2b
    if way == "seeing the other answer":
        return score_wrongly(model, batch)
    with_kernel = way == "packed by kernel"
    return score_shared(model, batch, with_entropy=False, with_kernel=with_kernel, longest=160).logps_2b


def score_wrongly(model: Any, batch: Any) -> Any:
    """Score with a causal mask alone: a rejected answer sees the chosen one. So the other checks can fail."""
    import torch

    from services.trainer.adapters.methods.likelihoods.answer_likelihood import measure_likelihood
    from services.trainer.adapters.methods.likelihoods.prefix_sharing import pack_pairs

    [pack] = pack_pairs(batch, None)
    mask = torch.ones_like(pack.attention_mask).tril()
    hidden = model.model(pack.input_ids, attention_mask=mask, position_ids=pack.position_ids).last_hidden_state[0]
    found = measure_likelihood(hidden[pack.kept], model.lm_head.weight, pack.targets)
    return torch.zeros(len(batch["input_ids"]), device=hidden.device).index_add(0, pack.rows, found.logps)


def score_rows(model: Any, batch: Any, way: str) -> Any:
    import torch

    from services.trainer.adapters.methods.likelihoods.packing import pack_rows, score_pack

    if way != "padded":
        return score_pack(model, pack_rows(batch, 160), with_kernel=way == "packed by kernel").logps
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].float()
    aims = batch["labels"][:, 1:]
    logps = torch.log_softmax(logits, -1).gather(-1, aims.clamp(min=0)[..., None])[..., 0]
    return logps[aims != -100]


def make_pair_batch(bench: Bench) -> Any:
    """Lay pairs out as TRL's collator does."""
    import torch

    tokens = [_tokenize(bench, pair) for pair in _read_pairs(bench)[:ROWS]]
    rows = [(prompt, chosen) for prompt, chosen, _ in tokens] + [(prompt, rejected) for prompt, _, rejected in tokens]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids, mask, completion = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(3))
    for index, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[index, :end] = torch.tensor(prompt + answer)
        mask[index, :end] = 1
        completion[index, len(prompt) : end] = 1
    return {"input_ids": ids, "attention_mask": mask, "completion_mask": completion}


def make_row_batch(bench: Bench) -> Any:
    pairs = make_pair_batch(bench)
    ids, mask, completion = (pairs[name][:ROWS] for name in ("input_ids", "attention_mask", "completion_mask"))
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(completion == 0, -100)}


def _read_pairs(bench: Bench) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    pairs: list[dict[str, Any]] = pq.read_table(bench.folder / "dataset/train.parquet").to_pylist()
    return pairs


def _tokenize(bench: Bench, pair: dict[str, Any]) -> tuple[list[int], list[int], list[int]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bench.parent)
    prompt = tokenizer.apply_chat_template(pair["prompt"], return_dict=False)
    chosen, rejected = (
        tokenizer.apply_chat_template(pair["prompt"] + pair[side], return_dict=False)[len(prompt) :]
        for side in ("chosen", "rejected")
    )
    return prompt, chosen, rejected
