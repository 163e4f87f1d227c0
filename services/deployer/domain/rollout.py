"""A rollout as a state machine: awaiting_approval -> canary stages -> champion, with a way out at every step."""

from dataclasses import dataclass, replace
from typing import Literal

from shared.errors import Conflict
from shared.rollouts import FINAL_STATES, RolloutState

Command = Literal["approve", "reject", "pause", "resume", "abort", "promote", "start", "advance", "roll_back"]


class InvalidCommand(Conflict):
    title = "Not possible in this state"


@dataclass(frozen=True)
class Position:
    """Where a rollout stands. `stage` is None until the candidate's model server has it loaded."""

    state: RolloutState
    stage: int | None = None
    paused_from: RolloutState | None = None

    @property
    def is_closed(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def is_approved(self) -> bool:
        """Whether it has, or is about to have, the canary; a paused one too."""
        return "canary" in (self.state, self.paused_from)

    @property
    def serves_canary(self) -> bool:
        """Whether users may be served by the candidate."""
        return self.stage is not None and not self.is_closed


def next_position(position: Position, command: Command, *, stages: int) -> Position:
    """Where `command` leads.

    - approve: awaiting_approval -> canary, not yet at a stage
    - reject: awaiting_approval -> rejected
    - start: canary without a stage -> its first stage
    - advance: the next stage, after the last one champion
    - promote: canary or paused there, at a stage -> champion, skipping the rest
    - roll_back: canary or paused there, or champion -> rolled_back
    - pause: awaiting_approval or canary -> paused; resume leads back
    - abort: anything open -> aborted

    Raises:
        InvalidCommand: it leads nowhere from here.
    """
    state = position.paused_from if position.state == "paused" else position.state
    match command:
        case "approve" if position.state == "awaiting_approval":
            return Position("canary")
        case "reject" if state == "awaiting_approval":
            return Position("rejected")
        case "start" if position.state == "canary" and position.stage is None:
            return replace(position, stage=0)
        case "advance" if position.state == "canary" and position.stage is not None:
            last = position.stage + 1 >= stages
            return Position("champion") if last else replace(position, stage=position.stage + 1)
        case "promote" if state == "canary" and position.stage is not None:
            return Position("champion")
        case "roll_back" if state == "canary" or position.state == "champion":
            return Position("rolled_back")
        case "pause" if position.state in ("awaiting_approval", "canary"):
            return replace(position, state="paused", paused_from=position.state)
        case "resume" if position.state == "paused" and position.paused_from is not None:
            return replace(position, state=position.paused_from, paused_from=None)
        case "abort" if not position.is_closed:
            return Position("aborted")
    raise InvalidCommand(f"a rollout that is {position.state} cannot {command.replace('_', ' ')}")
