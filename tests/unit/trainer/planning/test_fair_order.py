"""Nobody's requests crowd out another's: the order of runs, in simulated queues."""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.trainer.domain.planning.scheduling import Share, WaitingRun, choose_next

Order = Callable[[Sequence[WaitingRun], Mapping[str, Share]], WaitingRun | None]
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def first_come(waiting: Sequence[WaitingRun], shares: Mapping[str, Share]) -> WaitingRun | None:
    return min(waiting, key=lambda run: (run.requested_at, run.run_id), default=None)


@dataclass
class Served:
    run: WaitingRun
    rivals: set[str]
    """Other requesters that waited when the run came."""
    was_alone: bool
    """Whether its requester then had nothing waiting and nothing running."""
    overtakers: list[str] = field(default_factory=list)
    """Requesters of the other runs begun while it waited."""
    started: bool = False


def simulate(order: Order, arrivals: list[tuple[float, str]], workers: int, seed: int = 0) -> list[Served]:
    """Runs of 1 to 20 minutes come at these minutes; a free worker begins the next one at once."""
    draw = random.Random(seed)
    events: list[tuple[float, int, str, str]] = [(at, i, "come", who) for i, (at, who) in enumerate(sorted(arrivals))]
    heapq.heapify(events)
    waiting: dict[UUID, Served] = {}
    running: list[str] = []
    ended: dict[str, datetime] = {}
    runs: list[Served] = []
    while events:
        minute, number, kind, who = heapq.heappop(events)
        now = START + timedelta(minutes=minute)
        if kind == "come":
            rivals = {served.run.requester for served in waiting.values()}
            run = WaitingRun(UUID(int=number), who, now)
            waiting[run.run_id] = Served(run, rivals - {who}, who not in rivals and who not in running)
            runs.append(waiting[run.run_id])
        else:
            running.remove(who)
            ended[who] = now
        while waiting and len(running) < workers:
            shares = {name: Share(running.count(name), ended.get(name)) for name in {*running, *ended}}
            chosen = order([served.run for served in waiting.values()], shares)
            assert chosen is not None
            waiting.pop(chosen.run_id).started = True
            for served in waiting.values():
                served.overtakers.append(chosen.requester)
            running.append(chosen.requester)
            heapq.heappush(events, (minute + draw.uniform(1, 20), len(arrivals) + number, "end", chosen.requester))
    return runs


def flood(at: float) -> list[tuple[float, str]]:
    return [(0.0, "flooder")] * 100 + [(at, "single")]


@pytest.mark.parametrize("workers", [1, 3])
def test_who_floods_the_queue_delays_anothers_single_run_only_by_what_is_running(workers: int):
    for seed in range(40):
        runs = simulate(choose_next, flood(random.Random(seed).uniform(0.1, 100)), workers, seed)
        [single] = [served for served in runs if served.run.requester == "single"]
        assert single.overtakers == []
        assert all(served.started for served in runs)


def test_the_simulation_sees_that_first_come_first_served_is_not_fair():
    [single] = [served for served in simulate(first_come, flood(5.0), 1) if served.run.requester == "single"]
    assert len(single.overtakers) > 90


def come_at_random(seed: int) -> list[tuple[float, str]]:
    """Eager requesters, and ever new ones."""
    draw = random.Random(seed)
    known = [(draw.uniform(0, 400), draw.choice("aaaaabbc")) for _ in range(60)]
    return known + [(draw.uniform(0, 400), f"new-{number}") for number in range(40)]


@pytest.mark.parametrize("workers", [1, 3])
def test_who_has_nothing_going_waits_for_at_most_one_run_of_each_who_waited_before(workers: int):
    for seed in range(40):
        for served in simulate(choose_next, come_at_random(seed), workers, seed):
            if served.was_alone:
                assert len(served.overtakers) == len(set(served.overtakers))
                assert set(served.overtakers) <= served.rivals


def test_no_run_starves_though_ever_new_requesters_come():
    """With one worker: a run waits for its requester's older ones, and at each turn once for everybody else there."""
    for seed in range(40):
        runs = simulate(choose_next, come_at_random(seed), 1, seed)
        for served in runs:
            assert served.started
            own = served.overtakers.count(served.run.requester)
            others = [name for name in served.overtakers if name != served.run.requester]
            assert all(others.count(name) <= own + 1 for name in set(others))


def test_a_requesters_own_runs_keep_their_order():
    runs = [WaitingRun(UUID(int=number), "a", START + timedelta(minutes=number)) for number in (3, 1, 2)]
    chosen = choose_next(runs, {"a": Share(running=2, last_end=START)})
    assert chosen is not None
    assert chosen.run_id == UUID(int=1)


def test_nothing_waits():
    assert choose_next([], {"a": Share(running=1)}) is None
