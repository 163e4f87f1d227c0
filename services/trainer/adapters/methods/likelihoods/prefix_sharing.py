"""Pairs without padding: both answers stand behind one copy of their prompt, and pair after pair in one row.

The log-probabilities are those of the padded batch: an answer's tokens see their prompt and their own answer's earlier
tokens, at the positions they would have alone (Wang and Hegde 2024, "Accelerating Direct Preference Optimization with
Prefix Sharing", arXiv:2410.20305).
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from services.trainer.adapters.methods.likelihoods.packed_attention import Layout
from services.trainer.adapters.methods.likelihoods.packing import Pack

PACK_TOKENS = 1024
"""With a mask, pairs share a row up to here, since attention over a row then costs its square; a longer pair has one of
its own."""


def pack_pairs(
    inputs: Mapping[str, Tensor], limit: int | None = PACK_TOKENS, longest: int | None = None
) -> Iterator[Pack]:
    """Pack a preference batch, padded on the right: B chosen rows, then the B rejected ones, of shape (2B, L) each.

    A pair's two rows begin with the same prompt. `limit`: tokens of a row; None: all pairs in one. `longest`: an upper
    bound of L.
    """
    answers = inputs["completion_mask"].sum(dim=1).tolist()
    count = len(answers) // 2
    prompts = (inputs["attention_mask"] - inputs["completion_mask"]).sum(dim=1).tolist()[:count]
    ids, longest = inputs["input_ids"], longest or inputs["input_ids"].shape[1]
    waiting: list[int] = []
    tokens = 0
    for pair in range(count):
        size = prompts[pair] + answers[pair] + answers[count + pair]
        if waiting and limit is not None and tokens + size > limit:
            yield _pack(ids, prompts, answers, waiting, longest)
            waiting, tokens = [], 0
        waiting.append(pair)
        tokens += size
    yield _pack(ids, prompts, answers, waiting, longest)


def _pack(ids: Tensor, prompts: list[int], answers: list[int], pairs: list[int], longest: int) -> Pack:
    """Of a pair's two sequences the first is prompt and chosen answer, the second the rejected answer, whose keys begin
    with the prompt's."""
    count, width = len(prompts), ids.shape[1]
    sources, positions, kept, rows, keys = [], [], [], [], []
    query_ends, key_ends, begin = [0], [0], 0
    for pair in pairs:
        prompt, chosen, rejected = prompts[pair], answers[pair], answers[count + pair]
        middle, end = begin + prompt + chosen, begin + prompt + chosen + rejected
        first, second = pair * width, (count + pair) * width + prompt
        sources += [torch.arange(first, first + prompt + chosen), torch.arange(second, second + rejected)]
        positions += [torch.arange(prompt + chosen), torch.arange(prompt, prompt + rejected)]
        last = torch.tensor([begin + prompt - 1])  # the prompt's last token predicts either answer's first
        kept += [last, torch.arange(begin + prompt, middle - 1), last, torch.arange(middle, end - 1)]
        rows += [torch.full((chosen,), pair), torch.full((rejected,), count + pair)]
        keys += [torch.arange(begin, middle), torch.arange(begin, begin + prompt), torch.arange(middle, end)]
        query_ends += [middle, end]
        key_ends += [key_ends[-1] + prompt + chosen, key_ends[-1] + 2 * prompt + chosen + rejected]
        begin = end
    source, kept_columns, row = torch.cat(sources), torch.cat(kept), torch.cat(rows)
    is_answer = torch.cat([position >= prompts[pair] for pair, position in zip(_twice(pairs), positions, strict=True)])
    device = ids.device
    token_ids = ids.flatten()[source.to(device)]
    return Pack(
        input_ids=token_ids[None],
        position_ids=torch.cat(positions)[None].to(device),
        layout=Layout(
            key_order=torch.cat(keys).to(device),
            cu_seq_lens_q=torch.tensor(query_ends, dtype=torch.int32, device=device),
            cu_seq_lens_k=torch.tensor(key_ends, dtype=torch.int32, device=device),
            longest=longest,
        ),
        kept=kept_columns.to(device),
        targets=token_ids[is_answer.to(device)],
        rows=row.to(device),
    )


def _twice(pairs: list[int]) -> list[int]:
    return [pair for pair in pairs for _ in range(2)]
