"""A rollout as a state machine: awaiting_approval -> (shadow) -> canary stages -> champion, with ways out."""

from dataclasses import dataclass, replace
from typing import Literal

from shared.errors import Conflict
from shared.rollouts import FINAL_STATES, RolloutState

Command = Literal["approve", "reject", "pause", "resume", "abort", "promote", "shadow", "start", "advance", "roll_back"]


class InvalidCommand(Conflict):
    title = "Not possible in this state"


@dataclass(frozen=True)
class RolloutStatus:
    """Where a rollout stands. `stage` is None until users may be served by the candidate.

    A shadow is no state of its own: who reads the states of an earlier release sees a canary without a stage.
    """

    state: RolloutState
    stage: int | None = None
    paused_from: RolloutState | None = None
    in_shadow: bool = False

    @property
    def is_closed(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def is_approved(self) -> bool:
        """Tell whether it has, or is about to have, the canary; a paused one too."""
        return "canary" in (self.state, self.paused_from)

    @property
    def serves_canary(self) -> bool:
        """Tell whether users may be served by the candidate."""
        return self.stage is not None and not self.is_closed


def next_status(status: RolloutStatus, command: Command, *, stages: int) -> RolloutStatus:
    """Return where `command` leads.

    - approve: awaiting_approval -> canary, not yet at a stage
    - reject: awaiting_approval -> rejected
    - shadow: canary without a stage -> in shadow
    - start: canary without a stage, in shadow or not -> its first stage
    - advance: the next stage, after the last one champion
    - promote: canary or paused there, at a stage -> champion, skipping the rest
    - roll_back: canary or paused there, or champion -> rolled_back
    - pause: awaiting_approval or canary -> paused; resume leads back
    - abort: anything open -> aborted

    Raises:
        InvalidCommand: it leads nowhere from here.
    """
    state = status.paused_from if status.state == "paused" else status.state
    match command:
        case "approve" if status.state == "awaiting_approval":
            return RolloutStatus("canary")
        case "reject" if state == "awaiting_approval":
            return RolloutStatus("rejected")
        case "shadow" if status.state == "canary" and status.stage is None and not status.in_shadow:
            return replace(status, in_shadow=True)
        case "start" if status.state == "canary" and status.stage is None:
            return replace(status, stage=0, in_shadow=False)
        case "advance" if status.state == "canary" and status.stage is not None:
            last = status.stage + 1 >= stages
            return RolloutStatus("champion") if last else replace(status, stage=status.stage + 1)
        case "promote" if state == "canary" and status.stage is not None:
            return RolloutStatus("champion")
        case "roll_back" if state == "canary" or status.state == "champion":
            return RolloutStatus("rolled_back")
        case "pause" if status.state in ("awaiting_approval", "canary"):
            return replace(status, state="paused", paused_from=status.state)
        case "resume" if status.state == "paused" and status.paused_from is not None:
            return replace(status, state=status.paused_from, paused_from=None)
        case "abort" if not status.is_closed:
            return RolloutStatus("aborted")
    raise InvalidCommand(f"a rollout that is {status.state} cannot {command.replace('_', ' ')}")
