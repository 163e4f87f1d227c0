"""Pairs with a known truth and a probability ε of being wrong, many histories at once, as bags of words."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from bench.noise.curator import run_curator
from bench.noise.world import ANSWER_WORDS, FLIPS, HIDDEN_WORTH, PROMPTS, WORDS, Scene, record

PAIRS = 448
"""Pairs that are trained on, of every history: as many as the shortest curated one has, unless a world says fewer."""
HELD_OUT = 2_000
COLUMNS = {word: at for at, word in enumerate(WORDS)}

Bags = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Histories:
    """Arrays whose first axis is the history; one seed makes one history."""

    chosen: Bags
    """(histories, pairs, words)"""
    rejected: Bags
    epsilon: npt.NDArray[np.float32]
    """(histories, pairs)"""
    wrong: npt.NDArray[np.bool_]
    """Whether the chosen answer is the worse one, (histories, pairs)."""
    better: Bags
    """Held-out answers, (histories, held out, words)."""
    worse: Bags

    @classmethod
    def stack(cls, histories: Sequence["Histories"]) -> "Histories":
        return cls(*(np.concatenate([getattr(one, at.name) for one in histories]) for at in fields(cls)))


def draw_curated(seed: int, kind: str, wrong_votes: float, pairs: int = PAIRS) -> Histories:
    """Draw a history of `bench-noise` as the curator freezes it, with the curator's ε.

    Raises:
        ValueError: the curator kept too few pairs.
    """
    scene = Scene.draw(seed, wrong_votes, FLIPS[kind])
    held_out = scene.world.make_items(HELD_OUT, first=PROMPTS)
    frozen = list(run_curator(record(scene.votes, scene.world.rng)).snapshot.train)
    if len(frozen) < pairs:
        raise ValueError(f"the curator kept {len(frozen)} pairs of {kind} users, seed {seed}; {pairs} are wanted")
    kept = random.Random(seed).sample(frozen, pairs)
    truths = {vote.item.better: vote.item.worse for vote in scene.votes}
    return Histories(
        chosen=_count_words([one.item.chosen for one in kept]),
        rejected=_count_words([one.item.rejected for one in kept]),
        epsilon=np.array([[one.epsilon for one in kept]], np.float32),
        wrong=np.array([[truths.get(one.item.chosen) != one.item.rejected for one in kept]]),
        better=_count_words([item.better for item in held_out]),
        worse=_count_words([item.worse for item in held_out]),
    )


def draw_flips(seed: int, rate: float, *, alike: bool = False) -> Histories:
    """Draw pairs that are the wrong way round with exactly the probability that they carry.

    ε has the mean `rate` and a Beta distribution over [0, 1/2], or is `rate` for every pair (`alike`).
    """
    rng = np.random.default_rng(seed)
    worth = rng.normal(size=len(WORDS))
    better, worse = _draw_items(rng, worth, PAIRS)
    epsilon = np.full(PAIRS, rate) if alike else rng.beta(4 * rate, 2 - 4 * rate, PAIRS) / 2
    wrong = rng.random(PAIRS) < epsilon
    held_better, held_worse = _draw_items(rng, worth, HELD_OUT)
    return Histories(
        chosen=np.where(wrong[:, None], worse, better)[None],
        rejected=np.where(wrong[:, None], better, worse)[None],
        epsilon=epsilon[None].astype(np.float32),
        wrong=wrong[None],
        better=held_better[None],
        worse=held_worse[None],
    )


def _draw_items(rng: np.random.Generator, worth: npt.NDArray[np.float64], count: int) -> tuple[Bags, Bags]:
    """Draw pairs of answers as `bench.noise.world` writes them: (better, worse), each (count, words)."""
    words = np.argpartition(rng.random((2, count, len(WORDS))), ANSWER_WORDS)[..., :ANSWER_WORDS]
    bags = np.zeros((2, count, len(WORDS)), np.float32)
    np.put_along_axis(bags, words, 1.0, axis=-1)
    total = bags @ worth + rng.normal(0, HIDDEN_WORTH, (2, count))
    first_wins = (total[0] > total[1])[:, None]
    return np.where(first_wins, bags[0], bags[1]), np.where(first_wins, bags[1], bags[0])


def _count_words(texts: Sequence[str]) -> Bags:
    """Bags of shape (1, texts, words)."""
    bags = np.zeros((1, len(texts), len(WORDS)), np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            bags[0, row, COLUMNS[word]] += 1
    return bags


def calibrate(histories: Histories, bins: int = 10) -> npt.NDArray[np.float32]:
    """Return what ε would be if it were calibrated: the share of wrong pairs among those of like ε, in the other
    histories.

    The histories are halved; the bins are quantiles of one half's ε, and their shares are the other half's ε.
    """
    halves = np.arange(len(histories.epsilon)) % 2 == 0
    calibrated = np.empty_like(histories.epsilon)
    for half in (halves, ~halves):
        others, wrong = histories.epsilon[~half].ravel(), histories.wrong[~half].ravel()
        edges = np.unique(np.quantile(others, np.linspace(0, 1, bins + 1)[1:-1]))
        place = np.digitize(others, edges)
        share = np.array([wrong[place == at].mean() if (place == at).any() else 0.0 for at in range(len(edges) + 1)])
        calibrated[half] = np.minimum(share[np.digitize(histories.epsilon[half], edges)], 0.5)
    return calibrated
