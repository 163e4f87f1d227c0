"""The states of a rollout: the deployer moves it from one to the next, and everybody else acts on the last."""

from typing import Literal

RolloutState = Literal["awaiting_approval", "canary", "paused", "champion", "rejected", "aborted", "rolled_back"]

OPEN_STATES: tuple[RolloutState, ...] = ("awaiting_approval", "canary", "paused")
FINAL_STATES: frozenset[RolloutState] = frozenset({"champion", "rejected", "aborted", "rolled_back"})
"""A rollout stays in these, but for a champion, which may be rolled back once more."""
