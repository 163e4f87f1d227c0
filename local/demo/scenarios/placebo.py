"""Users and raters click at random: there is nothing to learn, and nothing may be promoted.

A random verdict passes the win rate's gate with a chance of at most 2.5% (the lower end of a 95% interval above one
half), so of ten runs one may fail in this way with a chance of up to 22%; whether a candidate that does no harm may
then reach users is the canary's business. See docs/decisions/0008.
"""

from typing import Any

from local.demo.apis import DemoFailed
from local.demo.report import describe_promotion
from local.demo.scenarios.scenario import Scenario
from local.demo.stages import Stages
from local.simulation.users import make_users


async def play(stages: Stages) -> dict[str, Any]:
    before = await stages.find_champion()
    stages.seat(make_users(stages.plan.users, stages.rng, temper="random"), side_by_side=0.5)
    request = await stages.listen()
    await stages.train(request["request_id"])
    raters = make_users(stages.plan.raters, stages.rng, prefix="rater", temper="random")
    evaluation = await stages.evaluate(request["request_id"], raters)
    rollout = await stages.approve(request["request_id"])
    if rollout["state"] == "awaiting_approval":
        rollout = await stages.follow_canary(request["request_id"], temper="random")
    after = await stages.find_champion()
    if after != before:
        raise DemoFailed(f"random clicks promoted version {after}: {rollout['summary']}")
    stages.screen.say(f"  nothing was promoted: {rollout['summary']}")
    return {
        "champion_before": before,
        "champion_after": after,
        **describe_promotion(request, evaluation, rollout),
        "promoted": False,
        "summary": rollout["summary"],
    }


SCENARIO = Scenario(name="placebo", title="users click at random; nothing may be promoted", play=play)
