from typing import get_args, get_type_hints

from shared.events import RolloutAdvanced
from shared.rollouts import FINAL_STATES, OPEN_STATES, RolloutState


def test_every_state_is_either_open_or_final() -> None:
    assert {*OPEN_STATES} | FINAL_STATES == {*get_args(RolloutState)}
    assert FINAL_STATES.isdisjoint(OPEN_STATES)


def test_the_event_knows_every_state_and_the_adoption_of_the_first_champion() -> None:
    assert {*get_args(get_type_hints(RolloutAdvanced)["state"])} == {"adopted", *get_args(RolloutState)}
