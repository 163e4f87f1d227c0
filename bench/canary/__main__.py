"""`make bench-canary`: five ways to decide about a canary, on traffic whose truth is known.

Claims, each a goal in the results: no world without harm sees ours roll back more often than its alpha promises; harm
that begins late is found within 1.3 times the canary users that early harm takes under the same weights; a broken model
and a drop of .20 are gone after few canary users; a good candidate reaches everybody by the forecast's 80% quantile;
what cannot be decided is ended by its deadline. The rules were tuned on seeds below 100, and are reported on another.
"""

import argparse
import hashlib
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.canary.ours import Ours
from bench.canary.plots import draw_delays
from bench.canary.rivals import FirstEdition, FixedThresholds, MixtureSprt, PeekingTest
from bench.canary.simulation import ENDED, HOUR, PROMOTED, ROLLED_BACK, Plan, Result, Rollouts, Rule, median
from bench.canary.tables import PAGE, write_tables
from bench.canary.worlds import STORIES, WORLDS, World
from local.results import RESULTS, Goal, Row, write_result
from services.deployer.domain.forecast import Effect, Traffic, add_up, forecast_stage
from services.deployer.domain.limits import Limits
from services.deployer.handlers.limits import derive_limits
from services.deployer.settings import DeployerSettings

SEED = 1_001
RUNS = 1_000
"""Rollouts of each world under each rule."""
BATCHES = 5
"""Parts that the spread is taken over."""
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Contestant:
    """A rule, and how rollouts go under it."""

    name: str
    make: Callable[[int], Rule]
    plan: Plan


def make_limits() -> Limits:
    """Return the limits of a rollout that opens under the deployer's default settings."""
    return derive_limits(DeployerSettings())


def list_contestants(limits: Limits) -> list[Contestant]:
    old = Plan(stages=(1, 5, 25, 50, 100))
    new = Plan(
        stages=limits.stages,
        holdback_percent=limits.holdback_percent,
        deadline_days=limits.deadline_seconds / DAY_SECONDS,
        minimum_days=limits.minimum_seconds / DAY_SECONDS,
        waits_days=limits.exposure_seconds / DAY_SECONDS,
        sees_late_votes_late=False,
        holdback_users=10_000,
    )
    rivals = Plan(stages=limits.stages, minimum_days=HOUR)
    return [
        Contestant("fixed thresholds", FixedThresholds, rivals),
        Contestant("peeking z-test", PeekingTest, rivals),
        Contestant("mSPRT", MixtureSprt, rivals),
        Contestant("first edition", FirstEdition, old),
        Contestant("ours", lambda runs: Ours(limits, runs), new),
    ]


def play(contestant: Contestant, world: World, seed: int, runs: int) -> Result:
    return Rollouts(world, contestant.make(runs), contestant.plan, runs=runs, seed=seed).run()


def resume(contestant: Contestant, world: World, seed: int, runs: int, folder: Path | None) -> Result:
    """Play, or take what an earlier start of the same left in the folder."""
    if folder is None:
        return play(contestant, world, seed, runs)
    told = repr((contestant.name, contestant.plan, make_limits(), world, seed, runs))
    path = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.npz"
    if path.exists():
        with np.load(path) as kept:
            return Result(**kept)
    result = play(contestant, world, seed, runs)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(path.with_suffix(".part.npz"), **vars(result))
    path.with_suffix(".part.npz").replace(path)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the figures in bench/results/ and docs/")
    parser.add_argument("--runs", type=int, default=RUNS, help="rollouts for each world and rule")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--rules", nargs="+", help="only these")
    parser.add_argument("--worlds", nargs="+", help="only those whose names contain one of these")
    parser.add_argument(
        "--resume", type=Path, help="folder that holds what has been played, for a run in several starts"
    )
    given = parser.parse_args()
    limits = make_limits()
    contestants = [one for one in list_contestants(limits) if not given.rules or one.name in given.rules]
    worlds = [world for world in WORLDS if not given.worlds or any(part in world.name for part in given.worlds)]
    played: dict[tuple[str, str], list[Result]] = {}
    for world in worlds:
        for one in contestants:
            result = resume(one, world, given.seed, given.runs, given.resume)
            played[one.name, world.name] = result.split(BATCHES)
        sys.stderr.write(f"{world.name}: played\n")
    rows = [row for (rule, world), results in played.items() for row in describe(rule, STORIES[world], results)]
    goals = list(list_goals({world: results for (rule, world), results in played.items() if rule == "ours"}, limits))
    settings = {"runs": given.runs, "seed": given.seed, "alpha": limits.alpha, "stages": limits.stages}
    with tempfile.TemporaryDirectory(prefix="heliotrope-bench-") as folder:
        write_result("canary", rows, goals, settings, RESULTS if given.keep else Path(folder))
    if given.keep:
        draw_delays(played, PAGE.with_name("canary.svg"))
        write_tables()


def describe(rule: str, world: World, results: list[Result]) -> Iterator[Row]:
    """Return, over the batches, how often rollouts ended how, and what a harmful one cost."""
    name = f"{world.name}: {rule}"
    for what, state in (("rolled back", ROLLED_BACK), ("promoted", PROMOTED), ("ended undecided", ENDED)):
        yield Row.of(f"{name}, {what}", "share", [result.share(state) for result in results])
    if world.kind == "harm":
        costs = [median(result.list_costs()) for result in results]
        if found := [cost for cost in costs if not math.isnan(cost)]:
            yield Row.of(f"{name}, canary users until rolled back (median)", "users", found)
    if world.kind == "good":
        days = [median(result.days_to_full) for result in results]
        if known := [each for each in days if math.isfinite(each)]:
            yield Row.of(f"{name}, days to 100% (median)", "days", known)


def list_goals(ours: dict[str, list[Result]], limits: Limits) -> Iterator[Goal]:
    for name, results in ours.items():
        if STORIES[name].kind == "null":
            share = float(np.mean([result.share(ROLLED_BACK) for result in results]))
            yield Goal(f"{name}: rolled back", share, limits.alpha, "at_most")
    for name, most in (
        ("broken, -.50", 20),
        ("broken, -.50, small", 20),
        ("broken, -.50, large", 20),
        ("harm, -.20", 150),
    ):
        if name in ours:
            yield Goal(f"{name}: canary users until rolled back (median)", median(_pool(ours[name])), most, "at_most")
    yield from _compare_with_oracle(ours, limits)
    early, late = "early in the 50% stage, -.20", "late in the 50% stage, -.20"
    if early in ours and late in ours:
        ratio = median(_pool(ours[late])) / median(_pool(ours[early]))
        yield Goal("late harm over early harm, canary users", ratio, 1.3, "at_most")
    for name, results in ours.items():
        if STORIES[name].kind == "good":
            yield Goal(
                f"{name}: at 100% by the forecast's 80% quantile",
                _share_in_time(STORIES[name], results, limits),
                0.75,
                "at_least",
            )
        if STORIES[name].kind == "unclear":
            undecided = float(
                np.mean(
                    [
                        (result.days_to_full == np.inf).mean() - result.share(ROLLED_BACK) - result.share(ENDED)
                        for result in results
                    ]
                )
            )
            yield Goal(f"{name}: neither decided nor ended", undecided, 0.0, "at_most")


def _pool(results: list[Result]) -> np.ndarray:
    return np.concatenate([result.list_costs() for result in results])


def _compare_with_oracle(ours: dict[str, list[Result]], limits: Limits) -> Iterator[Goal]:
    """Hold our delay against a likelihood-ratio test that knows both rates, at the outcome's share of alpha."""
    alpha = limits.calculate_alpha(next(one for one in limits.guardrails if one.name == "outcome"))
    for name in ("harm, -.10", "early in the 50% stage, -.20"):
        if name not in ours:
            continue
        world = STORIES[name]
        share = limits.calculate_canary_share(world.onset_stage)
        for what, level in (("", alpha), (", at a start point's weight", alpha * limits.schedule.weigh_start(0))):
            needed = measure_oracle(world.champion, world.champion + world.effect, share, level)
            ratio = median(_pool(ours[name])) / needed
            yield Goal(f"{name}: canary users over a test that knows both rates{what}", ratio, 1.5, "at_most")


def measure_oracle(champion: float, canary: float, share: float, alpha: float, runs: int = 2_000) -> float:
    """Return the median canary users that a test of the two true rates needs, who come at the canary's share."""
    rng = np.random.default_rng(77)
    pooled = (1 - share) * champion + share * canary
    users = 4_000
    likes = rng.random((runs, users)) < canary
    ratios = np.where(likes, math.log(canary / pooled), math.log((1 - canary) / (1 - pooled)))
    beside = rng.binomial(1, champion, (runs, users)) if share == 0.5 else None
    per_canary = (1 - share) / share
    gain = champion * math.log(champion / pooled) + (1 - champion) * math.log((1 - champion) / (1 - pooled))
    if beside is None:
        ratios = ratios + per_canary * gain
    else:
        ratios = ratios + np.where(beside == 1, math.log(champion / pooled), math.log((1 - champion) / (1 - pooled)))
    reached = ratios.cumsum(axis=1) >= math.log(1 / alpha)
    return float(np.median(np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, users)))


def _share_in_time(world: World, results: list[Result], limits: Limits) -> float:
    """Return the share of runs at 100% by the 80% quantile, forecast from the traffic before the first vote."""
    speaking = world.respond[0]
    variance = speaking * world.champion * (1 - world.champion)
    traffic = Traffic(world.users_per_day / DAY_SECONDS, speaking, variance)
    stages = []
    for stage in range(len(limits.stages) - 1):
        share, alpha = limits.calculate_canary_share(stage), limits.calculate_advance_alpha(stage)
        found = forecast_stage(traffic, Effect(), share=share, alpha=alpha, delta=limits.delta)
        stages.append([None if part is None else max(limits.minimum_seconds, part) for part in found])
    latest = add_up(stages)[-1]
    assert latest is not None
    return float(np.mean([(result.days_to_full * DAY_SECONDS <= latest).mean() for result in results]))


if __name__ == "__main__":
    main()
