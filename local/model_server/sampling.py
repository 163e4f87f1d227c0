"""How the next token is drawn from a model's scores."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from local.model_server.requests import ChatRequest

LEAST_TEMPERATURE = 1e-5
"""Below it the likeliest token is taken: nothing else could be drawn, and scores divided by less may not be finite."""


@dataclass(frozen=True)
class Sampling:
    """One request's settings; `temperature` 0 takes the likeliest token, `top_k` 0 and `top_p` 1 cut nothing off."""

    temperature: float
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    generator: torch.Generator = field(default_factory=torch.Generator)


def choose_sampling(request: ChatRequest, defaults: Any) -> Sampling:
    """Choose what the request asks for, and of what it does not say the defaults (a `GenerationConfig`)."""
    generator = torch.Generator()
    _ = generator.seed() if request.seed is None else generator.manual_seed(request.seed % 2**63)
    usual = (1.0 if defaults.temperature is None else defaults.temperature) if defaults.do_sample else 0.0
    top_k = defaults.top_k if request.top_k is None else request.top_k
    return Sampling(
        temperature=usual if request.temperature is None else request.temperature,
        top_k=max(top_k or 0, 0),
        top_p=request.top_p or defaults.top_p or 1.0,
        repetition_penalty=request.repetition_penalty or defaults.repetition_penalty or 1.0,
        generator=generator,
    )


def draw(scores: Tensor, sampling: Sampling, seen: list[int]) -> int:
    """Draw a token from a row of scores (one for each of the vocabulary); `seen` are prompt and answer so far."""
    if sampling.repetition_penalty != 1:
        scores = _hold_back(scores, sampling.repetition_penalty, seen)
    if sampling.temperature < LEAST_TEMPERATURE:
        return int(scores.argmax())
    scores = _keep_finite(scores.float() / sampling.temperature)
    if not sampling.top_k and sampling.top_p == 1:
        return int(torch.multinomial(scores.softmax(-1), 1, generator=sampling.generator))
    values, tokens = scores.topk(min(sampling.top_k or len(scores), len(scores)))
    shares = values.softmax(-1)
    is_kept = shares.cumsum(-1) - shares < sampling.top_p
    is_kept[0] = True  # however little is asked for
    shares = shares * is_kept
    return int(tokens[torch.multinomial(shares, 1, generator=sampling.generator)])


def _hold_back(scores: Tensor, penalty: float, seen: list[int]) -> Tensor:
    """Make tokens that were there already less likely, as CTRL (Keskar et al. 2019) does."""
    tokens = torch.tensor(sorted(set(seen)))
    before = scores[tokens]
    return scores.index_put((tokens,), _keep_finite(torch.where(before < 0, before * penalty, before / penalty)))


def _keep_finite(scores: Tensor) -> Tensor:
    """Bound what grew beyond the number format; what is no number stays so."""
    bounds = torch.finfo(scores.dtype)
    return scores.clamp(bounds.min, bounds.max)


@dataclass(frozen=True)
class Likelihood:
    """The log-probability of a token (nats, of the model itself, before any cut), and the likeliest instead."""

    token: int
    logprob: float
    likeliest: list[tuple[int, float]]


def measure_likelihood(scores: Tensor, token: int, most: int) -> Likelihood:
    """Measure a drawn token and the `most` likeliest."""
    logprobs = scores.float().log_softmax(-1)
    values, tokens = logprobs.topk(most)
    return Likelihood(token, float(logprobs[token]), list(zip(tokens.tolist(), values.tolist(), strict=True)))
