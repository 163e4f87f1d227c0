"""The shape of a scenario."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.demo.stages import Stages
from local.models.checkpoints import Habits

Play = Callable[[Stages], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Scenario:
    """A way to use the loop, and what must come of it.

    `play` runs the stages and returns the scenario's part of the report; it raises DemoFailed when the loop did not do
    what it promises. `habits` are those of the first champion where it is the tiny model.
    """

    name: str
    title: str
    play: Play
    model: str = "tiny"
    """The model it is played with unless another is asked for."""
    habits: Habits = "bad"
    service_settings: Mapping[str, str] = field(default_factory=dict)
