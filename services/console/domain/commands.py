"""What an admin may tell a rollout, and what follows from it: nobody confirms what they were not told."""

from dataclasses import dataclass
from typing import Any, Literal

Tone = Literal["go", "stop", "plain"]


@dataclass(frozen=True)
class Act:
    """A button. `consequence` is what the confirmation says."""

    command: str
    title: str
    consequence: str
    tone: Tone = "plain"


def list_acts(rollout: Any, *, is_champion: bool) -> list[Act]:
    """Return what can be done with a rollout in its state; `rollout` has the columns of the deployer's table."""
    state = rollout.paused_from if rollout.state == "paused" else rollout.state
    acts = list(_list_forward(rollout, state))
    if rollout.state == "paused":
        acts.append(Act("resume", "Resume", f"It goes on where it was: {_tell_state(rollout.paused_from)}."))
    elif rollout.state in ("awaiting_approval", "canary"):
        told = "The canary keeps its users, but no stage ends" if state == "canary" else "Nobody can approve it"
        acts.append(Act("pause", "Pause", f"{told} until somebody resumes it. Guardrails still roll back."))
    return acts + list(_list_backward(rollout, state, is_champion=is_champion))


def _list_forward(rollout: Any, state: str) -> Any:
    if rollout.state == "awaiting_approval":
        first = _tell_stage(rollout, 0)
        yield Act(
            "approve",
            "Approve",
            f"Version {rollout.candidate_version} is loaded and served to {first} of the users. You approve exactly "
            f"these weights, this dataset, this recipe and this report.",
            "go",
        )
    if state == "canary" and rollout.stage is not None:
        yield Act(
            "promote",
            "Promote now",
            f"Version {rollout.candidate_version} becomes the champion for everybody at once, without the evidence of "
            "the stages that are left.",
        )


def _list_backward(rollout: Any, state: str, *, is_champion: bool) -> Any:
    back = f"all users are served by version {rollout.champion_version}"
    if state == "awaiting_approval":
        consequence = f"Version {rollout.candidate_version} never reaches a user, and {back} as before. This is final."
        yield Act("reject", "Reject", consequence, "stop")
    elif state == "canary":
        consequence = f"The canary ends within seconds and {back}. This is final: the candidate cannot come back."
        yield Act("abort", "Abort", consequence, "stop")
    if is_champion:
        consequence = f"Within seconds {back} again, and a rollout that is open is aborted."
        yield Act("roll_back", f"Roll back to version {rollout.champion_version}", consequence, "stop")


def _tell_stage(rollout: Any, stage: int) -> str:
    stages = (rollout.limits or {}).get("stages") or []
    return f"{stages[stage]:g}%" if stage < len(stages) else "its first share"


def _tell_state(state: str | None) -> str:
    return {"awaiting_approval": "it waits for an approval", "canary": "its canary gathers evidence"}.get(
        state or "", "as before"
    )


DONE = {
    "approve": "Approved. The model server loads it; the canary begins when it answers.",
    "reject": "Rejected.",
    "pause": "Paused.",
    "resume": "It goes on.",
    "abort": "Aborted: everybody is served by the champion.",
    "promote": "Promoted: it is the champion.",
    "roll_back": "Rolled back: the earlier champion serves again.",
    "release": "Released. It counts from the next snapshot on.",
    "rejected": "Rejected. It is left out from the next snapshot on.",
    "cancel": "Cancelled. The worker stops at its next step.",
    "retrain": "Asked for. The dataset is frozen, and the trainer begins when a worker is free.",
    "loop-paused": "The loop is paused: nothing is trained until it is resumed.",
    "loop-resumed": "The loop goes on.",
    "policy-stopped": "The approval policy is stopped: people approve.",
}
"""What a page says after an act, by the word in its address."""
