"""A worse candidate is approved by mistake, and its canary must be rolled back.

The first champion answers well. People who want it to get worse rewrite its answers, and the raters belong to them,
so the candidate passes its gates and the admin approves. Then it meets ordinary users.
"""

import time
from typing import Any

from local.demo.apis import DemoFailed
from local.demo.report import describe_promotion
from local.demo.scenarios.scenario import Scenario
from local.demo.stages import Stages
from local.simulation.users import make_users


async def play(stages: Stages) -> dict[str, Any]:
    before = await stages.find_champion()
    stages.seat(make_users(stages.plan.users, stages.rng, temper="spoiling"), side_by_side=0.0)
    request = await stages.listen()
    run = await stages.train(request["request_id"])
    raters = make_users(stages.plan.raters, stages.rng, prefix="rater", temper="spoiling")
    evaluation = await stages.evaluate(request["request_id"], raters)
    await stages.approve(request["request_id"])
    started = time.monotonic()
    rollout = await stages.follow_canary(request["request_id"])
    seconds = round(time.monotonic() - started, 1)
    after = await stages.find_champion()
    if rollout["state"] != "rolled_back" or after != before:
        raise DemoFailed(f"the worse candidate was not rolled back but is {rollout['state']}: {rollout['summary']}")
    log = stages.crowd.log
    liked = [log.liked[answer] for answer, version in log.served.items() if version == run["candidate_version"]]
    harm = {
        "canary_answers": len(liked),
        "bad_answers": liked.count(False),
        "votes": {arm: rollout["evidence"][arm] for arm in ("champion", "canary")},
        "seconds": seconds,
        "summary": rollout["summary"],
    }
    stages.screen.say(f"  before that, the canary served {len(liked)} answers, {harm['bad_answers']} of them bad")
    return {
        "champion_before": before,
        "champion_after": after,
        **describe_promotion(request, evaluation, rollout),
        "harm": harm,
    }


SCENARIO = Scenario(
    name="harm", title="a worse candidate is approved by mistake; its canary rolls it back", play=play, habits="good"
)
