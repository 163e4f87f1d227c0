"""`make bench-data`: is what the curator freezes what happened? In worlds whose truth is known, beside an older commit.

Every world draws its own parameters from each seed (`worlds.py`). Of each dataset: the share of right pairs by weight,
the accuracy of a model trained on it, both beside the raw data and an oracle's that knows who is unreliable; honest
events set aside; what colluders keep; and the calibration error of epsilon. The peer is commit `peers.COMMIT`.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.data.measures import Measured, calculate_ece, measure, measure_ends
from bench.data.ours import curate_story
from bench.data.peers import COMMIT, check_out, curate_by_peer
from bench.data.story import Story
from bench.data.worlds import WORLDS, tell_apart, tell_canned
from local.results import Goal, Row, write_result

SEEDS = 10
APART = (0.1, 0.2, 0.3)
TOLD = (
    "careless",
    "contrary",
    "mixed",
    "colluding, meeting others",
    "winner always first",
    "Chinese",
    "code",
    "imports",
)
"""Worlds in which the truth can be told and there is a gap to win back."""
CALIBRATED = [f"{kind}{audits}" for kind in ("careless", "contrary", "mixed") for audits in ("", ", audited")]
HIDDEN = {f"colluding, nobody else's words, {share:.0%} of users": share for share in APART}
TEAM = "honest team, nobody else's words, 20% of users"
LARGE_TEAMS = "canned honest teams, large"
"""What the caps cost such teams is shown; it is not held against the goal, since nothing tells them from colluders."""
EXEMPT = (TEAM, LARGE_TEAMS)


@dataclass(frozen=True)
class World:
    """All seeds of one world: the ends, and what each curator made of it, by seed."""

    ends: Sequence[Mapping[str, float]]
    before: Sequence[Measured]
    after: Sequence[Measured]

    def recover(self, side: Sequence[Measured], measure: str) -> float:
        """Calculate the share of the gap between raw and oracle that is won back, in the means over all seeds."""
        raw, oracle = (statistics.fmean(one[f"{name}, {measure}"] for one in self.ends) for name in ("raw", "oracle"))
        return (statistics.fmean(one.figures[measure] for one in side) - raw) / (oracle - raw)


def list_worlds() -> dict[str, Callable[[int], Story]]:
    hidden = {name: _hide(share) for name, share in HIDDEN.items()}
    honest: dict[str, Callable[[int], Story]] = {
        TEAM: lambda seed: tell_apart(seed, 0.2, honest=True),
        LARGE_TEAMS: lambda seed: tell_canned(seed, (1, 4), (11, 30)),
    }
    return WORLDS | hidden | honest


def _hide(share: float) -> Callable[[int], Story]:
    return lambda seed: tell_apart(seed, share, honest=False)


def run_worlds(seeds: Sequence[int]) -> dict[str, World]:
    """Run every world with every seed through both curators."""
    told = list_worlds()
    found = {}
    with check_out() as checkout:
        for name, tell in told.items():
            stories = [tell(seed) for seed in seeds]
            before = curate_by_peer(stories, checkout)
            after = [curate_story(story) for story in stories]
            found[name] = World(
                [measure_ends(story) for story in stories],
                [measure(story, outcome) for story, outcome in zip(stories, before, strict=True)],
                [measure(story, outcome) for story, outcome in zip(stories, after, strict=True)],
            )
            print(name, flush=True)
    return found


def pool_error(side: Sequence[Measured]) -> float:
    """Calculate the calibration error over all pairs of all seeds."""
    return calculate_ece(
        [value for one in side for value in one.epsilon], [value for one in side for value in one.wrong]
    )


def derive_rows(worlds: Mapping[str, World]) -> list[Row]:
    rows = []
    for name, world in worlds.items():
        for end in sorted(world.ends[0]):
            rows.append(Row.of(f"{name}: {end}", "%", [100 * one[end] for one in world.ends]))
        for figure in world.after[0].figures:
            for when, side in (("before", world.before), ("after", world.after)):
                values = [100 * one.figures[figure] for one in side]
                rows.append(Row.of(f"{name}: {figure}, {when}", "%", values))
    return rows


def derive_goals(worlds: Mapping[str, World]) -> list[Goal]:
    goals = [
        Goal(
            f"{name}: share of the gap in {figure} won back ({_tell_before(worlds[name], figure)})",
            value,
            0.9,
            "at_least",
        )
        for figure in ("correct pairs", "accuracy")
        for name in TOLD
        for value in [worlds[name].recover(worlds[name].after, figure)]
    ]
    for name in CALIBRATED:
        before, after = pool_error(worlds[name].before), pool_error(worlds[name].after)
        goals.append(Goal(f"{name}: calibration error of epsilon (before: {before:.3f})", after, 0.03, "at_most"))
    honest = {name: _average(world.after, "honest set aside") for name, world in worlds.items() if name not in EXEMPT}
    worst = max(honest, key=lambda name: honest[name])
    goals.append(Goal(f"honest evidence set aside, worst world ({worst})", honest[worst], 0.01, "at_most"))
    for name, figure, most in _list_collusion():
        before, after = (_average(side, figure) for side in (worlds[name].before, worlds[name].after))
        goals.append(Goal(f"{name}: {figure} (before: {before:.3f})", after, most, "at_most"))
    return goals


def _list_collusion() -> list[tuple[str, str, float]]:
    """List what colluders may keep: little where others judge the same, a share of the weight where nothing tells."""
    apart = ("colluding, prompts of their own", *HIDDEN, "brigade, copies", "brigade, paraphrases")
    flood = ("anonymous flood", "invented users")
    capped = [(name, "colluding weight", 0.05) for name in (*apart, *flood)]
    return [("colluding, meeting others", "colluding kept", 0.1), *capped]


def _tell_before(world: World, figure: str) -> str:
    return f"before: {world.recover(world.before, figure):.2f}"


def _average(side: Sequence[Measured], figure: str) -> float:
    return statistics.fmean(one.figures[figure] for one in side)


def main() -> None:
    parser = argparse.ArgumentParser(description="is what the curator freezes what happened?")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    chosen = parser.parse_args()
    worlds = run_worlds(range(chosen.first, chosen.first + chosen.seeds))
    settings = {"seeds": chosen.seeds, "first seed": chosen.first, "peer": COMMIT}
    write_result("data", derive_rows(worlds), derive_goals(worlds), settings)


if __name__ == "__main__":
    main()
