"""The timeline keeps what happened in which stage."""

import io

from rich.console import Console

from local.demo.screen import Screen
from local.demo.timeline import Timeline


def test_what_is_said_belongs_to_the_stage_in_hand_or_to_the_one_just_ended():
    ticks = iter([100.0, 101.0, 102.5, 104.0, 105.0, 106.0, 107.0])
    timeline = Timeline(lambda: next(ticks))
    timeline.note("nobody asked yet")

    timeline.begin("train", "The trainer trains")
    timeline.note("step 1")
    timeline.end()
    timeline.note("candidate: version 2")

    (stage,) = timeline.stages
    assert (stage["start"], stage["end"]) == (1.0, 4.0)
    assert stage["notes"] == [{"at": 2.5, "summary": "step 1"}, {"at": 5.0, "summary": "candidate: version 2"}]


def test_the_screen_writes_the_timeline_of_repeated_stages_even_when_one_fails():
    screen = Screen(Console(file=io.StringIO()))
    for _ in range(2):
        with screen.stage("listen", "Users chat"):
            screen.say("  142 pairs")
    try:
        with screen.stage("train", "The trainer trains"):
            raise TimeoutError
    except TimeoutError:
        pass

    assert [stage["name"] for stage in screen.timeline.stages] == ["listen", "listen", "train"]
    assert [note["summary"] for note in screen.timeline.stages[1]["notes"]] == ["142 pairs"]
    assert all(stage["end"] >= stage["start"] for stage in screen.timeline.stages)
