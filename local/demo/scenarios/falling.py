"""Users' taste changes while the champion serves; the monitor must ask for retraining for that reason.

The first champion answers well. Once the monitor has measured it, a share of the users comes to want answers of one
short sentence. The volume of feedback would bring a request much later.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from local.demo.apis import DemoFailed
from local.demo.scenarios.scenario import Scenario
from local.demo.stages import POLL_SECONDS, Stages
from local.simulation.users import SimulatedUser, meet_newcomers

SHARE = 0.5
SHORT_WORDS = 14
WINDOW = 25


async def play(stages: Stages) -> dict[str, Any]:
    champion = await stages.find_champion()
    changed_at: list[float] = []
    stages.seat(_meet(stages.rng, changed_at), side_by_side=0.1)
    title = "Users chat until the monitor has measured the champion; then half of them come to want shorter answers"
    request: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    async with stages.stage("listen", title):
        watcher = asyncio.create_task(_watch(stages, changed_at, seen, request))
        await stages.chat_until(lambda: bool(request) or watcher.done())
        await watcher
    kinds = [reason["kind"] for reason in request["reasons"]]
    if kinds != ["opinion"]:
        raise DemoFailed(f"the monitor asked for another reason than the users' opinion: {', '.join(kinds)}")
    summary = request["reasons"][0]["summary"]
    falling = {
        "reason": summary,
        "votes_to_alarm": seen["alarm"]["votes"] - seen["change"]["votes"],
        "seconds_to_alarm": round(seen["alarm"]["at"] - seen["change"]["at"], 1),
        "votes_after_change": seen["request"]["votes"] - seen["change"]["votes"],
        "seconds": round(seen["request"]["at"] - seen["change"]["at"], 1),
        "pairs_then": seen["request"]["pairs"],
        "volume_threshold": seen["request"]["volume_threshold"],
        "votes_before_change": seen["change"]["votes"],
        "history": _summarise(stages.crowd.log.thumbs),
        "changed_at_thumb": seen["change"]["thumbs"],
    }
    stages.screen.say(f"  the monitor asks for retraining: {summary}")
    stages.screen.say(
        f"  noticed {falling['votes_to_alarm']} votes and {falling['seconds_to_alarm']:.0f} s after the change, asked"
        f" {falling['seconds']:.0f} s after it, with {falling['pairs_then']:.0f} of the"
        f" {falling['volume_threshold']:.0f} pairs that would have brought a request"
    )
    return {
        "champion_before": champion,
        "champion_after": champion,
        "retrain_reasons": request["reasons"],
        "dataset_sha256": request["dataset_sha256"],
        "falling": falling,
    }


def _meet(rng: Random, changed_at: list[float]) -> Iterator[SimulatedUser]:
    """Newcomers without end; after the change, every second one wants short answers."""
    for n, user in zip(itertools.count(), meet_newcomers(rng, prefix="customer"), strict=False):
        if changed_at and n % round(1 / SHARE) == 0:
            user.longest_words = SHORT_WORDS
        yield user


async def _watch(stages: Stages, changed_at: list[float], seen: dict[str, Any], request: dict[str, Any]) -> None:
    """Change the taste once the champion is measured; note what the monitor knew then, at its alarm and request."""
    while not request:
        detectors = await stages.read_detectors()
        opinion, volume = detectors["opinion"], detectors["volume"]
        now = {
            "at": time.monotonic(),
            "votes": opinion["figures"].get("votes", 0),
            "pairs": volume["value"],
            "volume_threshold": volume["threshold"],
            "thumbs": len(stages.crowd.log.thumbs),
        }
        state = opinion["figures"].get("state")
        if state == "watching" and not changed_at:
            seen["change"] = now
            changed_at.append(now["at"])
            stages.screen.say(f"  {opinion['summary']}; now the taste changes")
        if state == "alarm":
            seen.setdefault("alarm", now)
        if found := await stages.find_new_request():
            if not changed_at:
                raise DemoFailed(f"a request before anything changed: {found['reasons'][0]['summary']}")
            seen.setdefault("alarm", now)
            seen["request"] = now
            request |= found
        stages.screen.show(f"{stages.crowd.log.chats} answers; {opinion['summary']}")
        await asyncio.sleep(POLL_SECONDS)


def _summarise(thumbs: list[bool]) -> list[float]:
    """The positive rate of each 25 thumbs in turn."""
    return [
        round(sum(part) / len(part), 3)
        for start in range(0, len(thumbs), WINDOW)
        if len(part := thumbs[start : start + WINDOW]) == WINDOW
    ]


SCENARIO = Scenario(
    name="falling",
    title="users' taste changes; the monitor asks for retraining because of it",
    play=play,
    habits="good",
    service_settings={
        "HELIOTROPE_CURATOR_VOLUME_PAIRS": "1500",
        "HELIOTROPE_MONITOR_FALSE_ALARM_DAYS": "0.005",
        "HELIOTROPE_MONITOR_OPINION_PERIOD_SECONDS": "10",
        "HELIOTROPE_MONITOR_OPINION_SETTLING_PERIODS": "0",
        "HELIOTROPE_MONITOR_OPINION_WARM_UP_VOTES": "200",
        "HELIOTROPE_MONITOR_OPINION_LEAST_USERS": "20",
    },
)
