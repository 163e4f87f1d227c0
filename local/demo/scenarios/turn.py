"""The loop turns once: users teach the model, and it reaches them."""

from random import Random
from typing import Any

from local.demo.answers import Contestant
from local.demo.apis import DemoFailed
from local.demo.lineage import trace_back, trace_forward
from local.demo.measuring import measure, tune_plainly
from local.demo.report import (
    describe_approval,
    describe_baselines,
    describe_lineage,
    describe_promotion,
    describe_samples,
)
from local.demo.scenarios.scenario import Scenario
from local.demo.stages import Stages

INSTRUCTION = "Be brief and concrete: answer in one or two sentences, and say what the customer should do next."
BASELINES = {
    "instructed": "the model before, told to be brief and concrete",
    "sft": "the model before, fine-tuned on the chosen answers with a plain script",
}


async def play(stages: Stages) -> dict[str, Any]:
    before, parent_folder = await stages.find_champion(), await stages.find_checkpoint()
    request = await stages.listen()
    await stages.train(request["request_id"])
    evaluation = await stages.evaluate(request["request_id"])
    await stages.approve(request["request_id"])
    rollout = await stages.follow_canary(request["request_id"])
    if rollout["state"] != "champion":
        raise DemoFailed(f"the candidate did not become champion but {rollout['state']}: {rollout['summary']}")
    after = await stages.find_champion()
    contestants = {
        "before": Contestant(before),
        "after": Contestant(after),
        "instructed": Contestant(before, INSTRUCTION),
    }
    answered = await measure(stages, contestants, Random(stages.seed + 1))
    answered = await tune_plainly(stages, parent_folder, request["dataset_sha256"], answered, "sft")
    log = stages.crowd.log
    served_by_new = [interaction for interaction, version in log.served.items() if version == after]
    back = await trace_back(stages.apis, served_by_new, log.event_ids)
    forward = await trace_forward(stages.apis, log.event_ids, after)
    return {
        "champion_before": before,
        "champion_after": after,
        **describe_promotion(request, evaluation, rollout),
        "approval_rate": describe_approval(answered),
        "baselines": describe_baselines(answered, BASELINES),
        **describe_lineage(back, forward),
        "samples": describe_samples(answered),
    }


SCENARIO = Scenario(name="turn", title="the loop turns once", play=play, model="smollm2")
