"""The loop turns several times: what becomes of length, diversity, distance from the first model, and approval."""

from random import Random
from typing import Any

from local.demo.answers import Contestant, calculate_distinct_2, calculate_mean_words
from local.demo.measuring import compare_holdback, measure, measure_divergence
from local.demo.report import describe_approval
from local.demo.scenarios.scenario import Scenario
from local.demo.stages import Stages

HOLDBACK_VOTES = 10


async def play(stages: Stages) -> dict[str, Any]:
    first = await stages.find_champion()
    anchor = await stages.find_checkpoint()
    told: list[dict[str, Any]] = []
    promotion: str | None = None
    for number in range(1, stages.plan.rounds + 1):
        stages.screen.say(f"\nRound {number} of {stages.plan.rounds}")
        rollout = await _turn(stages)
        promotion = rollout["rollout_id"] if rollout["state"] == "champion" else promotion
        told.append(await _measure(stages, number, rollout, promotion, first, anchor))
        stages.screen.say(_put_in_words(told[-1]))
    return {
        "champion_before": first,
        "champion_after": await stages.find_champion(),
        "approval_rate": told[-1].pop("approval_rate"),
        "rounds": [{key: value for key, value in each.items() if key != "approval_rate"} for each in told],
    }


async def _turn(stages: Stages) -> dict[str, Any]:
    """Go from feedback to the rollout's end; return the rollout."""
    request = await stages.listen()
    await stages.train(request["request_id"])
    await stages.evaluate(request["request_id"])
    rollout = await stages.approve(request["request_id"])
    if rollout["state"] == "awaiting_approval":
        rollout = await stages.follow_canary(request["request_id"])
    return rollout


async def _measure(
    stages: Stages, number: int, rollout: dict[str, Any], promotion: str | None, first: str, anchor: str
) -> dict[str, Any]:
    """The round's figures; `promotion` is the newest rollout that made a champion, whose holdback still stands."""
    holdback = await compare_holdback(stages, promotion, HOLDBACK_VOTES) if promotion else None
    champion = await stages.find_champion()
    contestants = {"before": Contestant(first), "after": Contestant(champion)}
    answered = await measure(stages, contestants, Random(stages.seed + 1))
    answers = [(each.question.messages, each.texts["after"]) for each in answered]
    texts = [text for _, text in answers]
    approval = describe_approval(answered)
    return {
        "round": number,
        "champion": champion,
        "promoted": rollout["state"] == "champion",
        "summary": rollout["summary"],
        "length_words": calculate_mean_words(texts),
        "distinct_2": calculate_distinct_2(texts),
        "kl_to_anchor": await measure_divergence(await stages.find_checkpoint(), anchor, answers),
        "approval": approval["after"],
        "holdback": holdback,
        "approval_rate": approval,
    }


def _put_in_words(each: dict[str, Any]) -> str:
    facts = [
        f"approval {each['approval']['value']:.0%}",
        f"{each['length_words']:.1f} words an answer",
        f"distinct-2 {each['distinct_2']:.2f}",
        f"KL to the first model {each['kl_to_anchor']:.3f} nats a token",
    ]
    if each["holdback"] and each["holdback"]["difference"] is not None:
        facts.append(f"{each['holdback']['difference']:+.0%} positive votes against the users held back")
    return f"  round {each['round']}: {', '.join(facts)}"


SCENARIO = Scenario(
    name="rounds",
    title="the loop turns several times",
    play=play,
    service_settings={"HELIOTROPE_MONITOR_COOLDOWN_SECONDS": "1"},
)
