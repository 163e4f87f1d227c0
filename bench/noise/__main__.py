"""`make bench-noise`: how much of what noise destroys does curation bring back?

Histories with a known truth (`bench/noise/world.py`) go through the curator's own functions. Two kinds of unreliable
users: contrary ones, who say the opposite of the truth in 80% of the cases, and careless ones, who say it in 50%. Their
share is such that 0, 10, 20, 30 or 40% of all votes are wrong. Three datasets are compared: raw (every vote is a pair),
curated, and that of an oracle who knows the unreliable users and drops them.

Attacks, each on a history with 10% wrong votes: a brigade of 5% of the users that copies votes, a slow brigade of as
many that does not, and every tenth event sent again, half of those under a new id. What moved is the share of prompts
that the dataset says something else of than without the attack.
"""

import argparse
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from bench.noise.curator import run_curator
from bench.noise.model import Rows, measure_accuracy
from bench.noise.plot import draw_curves
from bench.noise.world import FLIPS, PROMPTS, SHARED_PROMPTS, USERS, Scene, Vote, merge, record
from local.results import Goal, Row, write_result
from shared.events import FeedbackReceived

SEEDS = 10
HELD_OUT = 500
WRONG = (0.0, 0.1, 0.2, 0.3, 0.4)
BRIGADE_SHARE = 0.05
BRIGADE_VOTES = 40

PLOT = Path(__file__).resolve().parents[2] / "docs" / "noise.svg"

Figures = dict[str, list[float]]


def measure_curve(seed: int, wrong: float, kind: str) -> dict[str, float]:
    """Return shares of right pairs, and held-out accuracies, of the three datasets."""
    scene = Scene.draw(seed, wrong, FLIPS[kind])
    held_out = scene.world.make_items(HELD_OUT, first=PROMPTS)
    right = {vote.sides: vote.right for vote in scene.votes}
    right |= {vote.sides[::-1]: not vote.right for vote in scene.votes}
    trusted = [vote for vote in scene.votes if vote.user not in scene.unreliable]
    datasets: dict[str, Rows] = {
        "raw": [(*vote.sides, 1.0) for vote in scene.votes],
        "curated": run_curator(record(scene.votes, scene.world.rng)).rows,
        "oracle": [(*vote.sides, 1.0) for vote in trusted],
    }
    figures: dict[str, float] = {}
    for name, rows in datasets.items():
        figures[f"correct pairs, {name}"] = statistics.fmean(right[one, other] for one, other, _ in rows)
        figures[f"held-out accuracy, {name}"] = measure_accuracy(rows, held_out)
    return figures


def measure_attack(seed: int, attack: Callable[[Scene], list[Vote]]) -> dict[str, float]:
    """Return what an attack moves, with and without curation, and what of the honest data is in quarantine."""
    scene = Scene.draw(seed, 0.1, FLIPS["contrary"])
    honest = record(scene.votes, random.Random(seed + 1_000))
    clean, hostile = run_curator(honest), attack(scene)
    attacked = run_curator(merge(honest, record(hostile, random.Random(seed + 2_000))))
    ours = {event.event_id for event in clean.events}
    caught = attacked.quarantine.waiting
    return {
        "moved, raw": _compare(_count_raw(scene.votes), _count_raw(scene.votes + hostile)),
        "moved, curated": _compare(clean.directions, attacked.directions),
        "honest events in quarantine": len(ours & caught.keys()) / len(ours),
        "hostile events in quarantine": len(caught.keys() - ours) / (len(attacked.events) - len(ours)),
    }


def measure_duplicates(seed: int) -> dict[str, float]:
    """Return every tenth event once more: half under the same id, half said again under a new one."""
    scene = Scene.draw(seed, 0.1, FLIPS["contrary"])
    groups = record(scene.votes, random.Random(seed + 1_000))
    clean = run_curator(groups)
    rng = random.Random(seed + 2_000)
    for group in groups.values():
        for event in [event for event in group.events if rng.random() < 0.1]:
            group.events.append(event if rng.random() < 0.5 else _say_again(event))
    again = run_curator(groups)
    return {"moved, curated": _compare(clean.directions, again.directions)}


def _say_again(event: FeedbackReceived) -> FeedbackReceived:
    return msgspec.structs.replace(event, event_id=UUID(int=event.event_id.int ^ 1))


def copy_votes(scene: Scene) -> list[Vote]:
    """Have a brigade agree on 40 wrong votes, and each member cast all of them within an hour."""
    members, items = scene.world.draw_users(BRIGADE_SHARE), scene.world.rng.sample(scene.votes, BRIGADE_VOTES)
    template = [scene.world.vote("", vote.item, right=False) for vote in items]
    return [
        Vote(user, vote.item, False, vote.at + timedelta(seconds=scene.world.rng.randrange(3_600)), vote.kind)
        for user in members
        for vote in template
    ]


def vote_slowly(scene: Scene) -> list[Vote]:
    """Cast as many votes by as many members, all wrong, but each on prompts of their own and spread over the month."""
    return [
        scene.world.vote(user, vote.item, right=False)
        for user in scene.world.draw_users(BRIGADE_SHARE)
        for vote in scene.world.rng.sample(scene.votes, BRIGADE_VOTES)
    ]


def _count_raw(votes: Sequence[Vote]) -> dict[str, bool]:
    """By prompt: whether most votes prefer the answer that comes first in the alphabet; ties are left out."""
    balance: dict[str, int] = defaultdict(int)
    for vote in votes:
        balance[vote.item.prompt_hash] += 1 if vote.sides[0] < vote.sides[1] else -1
    return {prompt_hash: total > 0 for prompt_hash, total in balance.items() if total}


def _compare(before: Mapping[str, bool], after: Mapping[str, bool]) -> float:
    keys = before.keys() | after.keys()
    return sum(before.get(key) != after.get(key) for key in keys) / len(before)


def main() -> None:
    parser = argparse.ArgumentParser(description="how much of what noise destroys does curation bring back?")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = range(parser.parse_args().seeds)
    curves = {
        (kind, wrong): _collect(measure_curve(seed, wrong, kind) for seed in seeds) for kind in FLIPS for wrong in WRONG
    }
    attacks = {
        "copying brigade": _collect(measure_attack(seed, copy_votes) for seed in seeds),
        "slow brigade": _collect(measure_attack(seed, vote_slowly) for seed in seeds),
        "duplicates": _collect(measure_duplicates(seed) for seed in seeds),
    }
    rows = [
        Row.of(f"{kind} users, {wrong:.0%} wrong votes: {name}", "%", [100 * value for value in values])
        for (kind, wrong), figures in curves.items()
        for name, values in figures.items()
    ]
    rows += [
        Row.of(f"{attack}: {name}", "%", [100 * value for value in values])
        for attack, figures in attacks.items()
        for name, values in figures.items()
    ]
    draw_curves(curves, [(kind, name) for kind in FLIPS for name in ("held-out accuracy", "correct pairs")], PLOT)
    write_result("noise", rows, derive_goals(curves, attacks), _describe_settings(len(seeds)))


def _collect(runs: Iterable[Mapping[str, float]]) -> Figures:
    figures: Figures = defaultdict(list)
    for run in runs:
        for name, value in run.items():
            figures[name].append(value)
    return dict(figures)


def derive_goals(curves: Mapping[tuple[str, float], Figures], attacks: Mapping[str, Figures]) -> list[Goal]:
    goals = []
    for kind in FLIPS:
        at_30, at_0 = curves[kind, 0.3], curves[kind, 0.0]
        for measure in ("held-out accuracy", "correct pairs"):
            goals.append(
                Goal(
                    f"{kind} users, 30% wrong: share of the oracle's {measure}",
                    _recover(at_30, measure),
                    0.5,
                    "at_least",
                )
            )
        cost = _mean(at_0, "held-out accuracy, raw") - _mean(at_0, "held-out accuracy, curated")
        goals.append(Goal(f"{kind} users, nothing wrong: points of accuracy lost", 100 * cost, 1.0, "at_most"))
    brigade = attacks["copying brigade"]
    moved, lost = _mean(brigade, "moved, curated"), _mean(brigade, "honest events in quarantine")
    goals.append(Goal("copying brigade: % of prompts moved", 100 * moved, 1.0, "at_most"))
    goals.append(Goal("copying brigade: % of honest events in quarantine", 100 * lost, 1.0, "at_most"))
    return goals


def _recover(figures: Figures, measure: str) -> float:
    """What curation brings back of what the oracle brings back, in the means over all seeds."""
    raw, curated, oracle = (_mean(figures, f"{measure}, {name}") for name in ("raw", "curated", "oracle"))
    return (curated - raw) / (oracle - raw)


def _mean(figures: Figures, name: str) -> float:
    return statistics.fmean(figures[name])


def _describe_settings(seeds: int) -> dict[str, object]:
    return {
        "seeds": seeds,
        "prompts": PROMPTS,
        "users": USERS,
        "share of prompts with three votes": SHARED_PROMPTS,
        "flip rates of unreliable users": FLIPS,
        "brigade, share of users": BRIGADE_SHARE,
        "brigade, votes of each": BRIGADE_VOTES,
    }


if __name__ == "__main__":
    main()
