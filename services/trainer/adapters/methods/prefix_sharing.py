"""Pairs without padding: both answers stand behind one copy of their prompt, and pair after pair in one row.

The log-probabilities are those of the padded batch: an answer's tokens see their prompt and their own answer's earlier
tokens, at the positions they would have alone (Wang and Hegde 2024, "Accelerating Direct Preference Optimization with
Prefix Sharing", arXiv:2410.20305). The head is asked for the answers' tokens only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

PACK_TOKENS = 1024
"""Pairs share a row up to here, since attention over a row costs its square; a longer pair has one of its own."""
PROMPT, CHOSEN, REJECTED = range(3)


@dataclass(frozen=True)
class Pack:
    """Whole pairs in a row of T tokens, K of them in answers. `rows` are those of the batch of 2B that it is made of.

    input_ids, position_ids: (1, T)
    attention_mask: (1, 1, T, T), True where a token (third dimension) sees another (fourth)
    kept: (K,), the column whose logits predict an answer's token; targets: (K,), that token; rows: (K,), its row
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    kept: Tensor
    targets: Tensor
    rows: Tensor


def pack_pairs(inputs: Mapping[str, Tensor], limit: int = PACK_TOKENS) -> Iterator[Pack]:
    """Pack a preference batch, padded on the right: B chosen rows, then the B rejected ones, of shape (2B, L) each.

    A pair's two rows begin with the same prompt.
    """
    answers = inputs["completion_mask"].sum(dim=1).tolist()
    count = len(answers) // 2
    prompts = (inputs["attention_mask"] - inputs["completion_mask"]).sum(dim=1).tolist()[:count]
    waiting: list[int] = []
    tokens = 0
    for pair in range(count):
        size = prompts[pair] + answers[pair] + answers[count + pair]
        if waiting and tokens + size > limit:
            yield _pack(inputs["input_ids"], prompts, answers, waiting)
            waiting, tokens = [], 0
        waiting.append(pair)
        tokens += size
    yield _pack(inputs["input_ids"], prompts, answers, waiting)


def _pack(ids: Tensor, prompts: list[int], answers: list[int], pairs: list[int]) -> Pack:
    input_ids, positions, owners, sides, kept, rows = [], [], [], [], [], []
    begin, count = 0, len(prompts)
    for pair in pairs:
        prompt = prompts[pair]
        input_ids.append(ids[pair, :prompt])
        positions.append(torch.arange(prompt))
        sides.append(torch.full((prompt,), PROMPT))
        end = begin + prompt
        for side, row in ((CHOSEN, pair), (REJECTED, count + pair)):
            size = answers[row]
            input_ids.append(ids[row, prompt : prompt + size])
            positions.append(torch.arange(prompt, prompt + size))
            sides.append(torch.full((size,), side))
            kept += [torch.tensor([begin + prompt - 1]), torch.arange(end, end + size - 1)]
            rows.append(torch.full((size,), row))
            end += size
        owners.append(torch.full((end - begin,), pair))
        begin = end
    token_ids, side_of, owner = torch.cat(input_ids), torch.cat(sides), torch.cat(owners)
    sees = (owner[:, None] == owner) & ((side_of == PROMPT) | (side_of[:, None] == side_of))
    device = ids.device
    return Pack(
        input_ids=token_ids[None],
        position_ids=torch.cat(positions)[None].to(device),
        attention_mask=sees.tril()[None, None].to(device),
        kept=torch.cat(kept).to(device),
        targets=token_ids[(side_of != PROMPT).to(device)],
        rows=torch.cat(rows).to(device),
    )
