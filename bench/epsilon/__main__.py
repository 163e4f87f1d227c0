"""`make bench-epsilon`: does DPO gain from each pair's probability ε of being wrong, after any number of passes?

Plain DPO and the trainer's loss learn the same pairs from one start in one order; what is measured is how many held-out
items each ranks rightly, by the known truth. Worlds:

- histories of `bench-noise` with contrary users (wrong in 80%) or careless ones (50%), as the curator freezes them:
  with the curator's ε, and with what ε would be if it were calibrated
- pairs that are flipped with exactly the probability that they carry, which differs between pairs or is alike

The policies are small networks over bags of words (`policies.py`), so that hundreds of histories are affordable; the
losses and weights are the trainer's own. Differences are taken within a history. The intervals hold together: Student's
t with Bonferroni's correction over all cells (a world, a source of ε, a number of passes).
"""

import argparse
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.stats import t
from torch import Tensor

from bench.epsilon.histories import HELD_OUT, PAIRS, Histories, calibrate, draw_curated, draw_flips
from bench.epsilon.policies import BATCH, HIDDEN, LEARNING_RATE, Loss, measure_accuracies
from local.results import Goal, Row, write_result
from services.trainer.adapters.methods.epsilon import calculate_noisy_losses
from services.trainer.domain.pair_weights import calculate_pair_weights

PASSES = (1, 2, 4, 8)
GROUP = 32
"""Histories that are trained at once, and among whose halves ε is calibrated."""
FIRST = 20_000
"""First seed of those that judge; the loss, the learning rate and the counts below were chosen on 5,000 to 5,200."""
CONFIDENCE = 0.95
WRONG_ENOUGH = 0.1
"""Share of wrong labels, to the nearest percent, from which on ε must pay."""


@dataclass(frozen=True)
class World:
    draw: Callable[[int], Histories]
    histories: int
    """As many as a half-width of 0.25 points takes, by the spread on the seeds that do not judge."""
    curated: bool = False
    tells_apart: bool = True
    """Whether ε differs between pairs; where it does not, it cannot say which ones to trust."""


WORLDS = {
    "flips, 5%": World(partial(draw_flips, rate=0.05), 128),
    "flips, 10%": World(partial(draw_flips, rate=0.1), 352),
    "flips, 20%": World(partial(draw_flips, rate=0.2), 512),
    "flips, 30%": World(partial(draw_flips, rate=0.3), 576),
    "flips, 20%, every ε alike": World(partial(draw_flips, rate=0.2, alike=True), 128, tells_apart=False),
    "contrary users, 30% wrong votes": World(partial(draw_curated, kind="contrary", wrong_votes=0.3), 96, True),
    "careless users, 30% wrong votes": World(partial(draw_curated, kind="careless", wrong_votes=0.3), 192, True),
    "careless users, 40% wrong votes": World(
        partial(draw_curated, kind="careless", wrong_votes=0.4, pairs=320),  # the curator keeps fewer
        192,
        True,
    ),
}
CELLS = sum((1 + world.curated) * len(PASSES) for world in WORLDS.values())


@dataclass(frozen=True)
class Cell:
    """What the loss gains over plain DPO, in points of held-out accuracy, by history."""

    name: str
    differences: npt.NDArray[np.float64]
    wrong: float
    """Share of pairs that are the wrong way round."""
    tells_apart: bool

    @property
    def mean(self) -> float:
        return float(self.differences.mean())

    @property
    def half_width(self) -> float:
        count = len(self.differences)
        quantile = t.ppf(1 - (1 - CONFIDENCE) / 2 / CELLS, count - 1)
        return float(quantile * self.differences.std(ddof=1) / count**0.5)

    @property
    def low(self) -> float:
        return self.mean - self.half_width


def calculate_plain(margins: Tensor, _: Tensor) -> Tensor:
    return -F.logsigmoid(margins)


def build_loss(epsilons: npt.NDArray[np.float32]) -> Loss:
    """Return the trainer's loss with its weights, normalised over each history."""
    epsilon = torch.from_numpy(epsilons)
    weight = torch.tensor([calculate_pair_weights(row.tolist()) for row in epsilons])
    return lambda margins, at: weight.gather(1, at) * calculate_noisy_losses(margins, epsilon.gather(1, at))


def measure_group(world: World, first: int) -> tuple[dict[str, npt.NDArray[np.float64]], Histories]:
    """Return accuracies by loss, (passes, histories), and the histories."""
    histories = Histories.stack([world.draw(seed) for seed in range(first, first + GROUP)])
    losses = {"plain": calculate_plain, "ε": build_loss(histories.epsilon)}
    if world.curated:
        losses["calibrated ε"] = build_loss(calibrate(histories))
    return measure_accuracies(histories, losses, PASSES, seed=first), histories


def measure_world(name: str, first: int, count: int) -> tuple[list[Cell], list[Row]]:
    world = WORLDS[name]
    began = time.process_time()
    groups = [measure_group(world, first + at) for at in range(0, count, GROUP)]
    wrong = float(np.mean([histories.wrong.mean() for _, histories in groups]))
    epsilon = float(np.mean([histories.epsilon.mean() for _, histories in groups]))
    accuracies = {loss: 100 * np.concatenate([found[loss] for found, _ in groups], axis=1) for loss in groups[0][0]}
    cells = [
        Cell(f"{name}, {loss}, passes: {passes}", gained, wrong, world.tells_apart)
        for loss, values in accuracies.items()
        if loss != "plain"
        for passes, gained in zip(PASSES, values - accuracies["plain"], strict=True)
    ]
    rows = [
        Row.of(f"{name}: accuracy of plain DPO, passes: {passes}", "%", values.tolist())
        for passes, values in zip(PASSES, accuracies["plain"], strict=True)
    ]
    print(f"{name}: {wrong:.1%} of the labels wrong, mean ε {epsilon:.3f}, {time.process_time() - began:.0f} s of CPU")
    for cell in cells:
        print(f"  {cell.name}: {cell.mean:+.2f} ± {cell.half_width:.2f}", flush=True)
    return cells, rows


def derive_goals(cells: list[Cell]) -> list[Goal]:
    goals = [Goal(f"{cell.name}: lower end of the gain, points", cell.low, -0.5, "at_least") for cell in cells]
    goals += [
        Goal(f"{cell.name}: lower end where ε must pay, points", cell.low, 0, "at_least")
        for cell in cells
        if round(cell.wrong, 2) >= WRONG_ENOUGH and cell.tells_apart
    ]
    goals.append(Goal("widest half-width, points", max(cell.half_width for cell in cells), 0.25, "at_most"))
    return goals


def describe(cells: list[Cell]) -> Mapping[str, object]:
    return {
        "pairs": PAIRS,
        "held out": HELD_OUT,
        "hidden units": HIDDEN,
        "batch": BATCH,
        "learning rate": LEARNING_RATE,
        "first seed": FIRST,
        "cells": {
            cell.name: {
                "mean": cell.mean,
                "half-width": cell.half_width,
                "histories": len(cell.differences),
                "share of wrong labels": cell.wrong,
            }
            for cell in cells
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="does DPO gain from each pair's probability of being wrong?")
    parser.add_argument("--tune", type=int, metavar="SEEDS", help="so many seeds that do not judge; keeps nothing")
    parser.add_argument("--world", choices=WORLDS, action="append", help="these alone; kept under their own name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cells: list[Cell] = []
    rows: list[Row] = []
    for name in arguments.world or WORLDS:
        first, count = (5_000, arguments.tune) if arguments.tune else (FIRST, WORLDS[name].histories)
        of_world, accuracies = measure_world(name, first, count)
        cells += of_world
        rows += [*accuracies, *(Row.of(f"{cell.name}: gain", "points", cell.differences.tolist()) for cell in of_world)]
        if not arguments.tune:  # after each world: what is stopped keeps what it has measured
            apart = "-".join(re.findall(r"\w+", " ".join(arguments.world or [])))
            write_result(f"epsilon-{apart}" if apart else "epsilon", rows, derive_goals(cells), describe(cells))


if __name__ == "__main__":
    main()
