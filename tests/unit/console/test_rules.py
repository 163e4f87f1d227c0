"""What the pages tell: figures, who may see what, what a button leads to, where a tile's dot stands."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from services.console.adapters.services import read_lag
from services.console.api.cursors import decode_cursor, encode_cursor
from services.console.domain.access import choose_home, derive_local_path, list_pages
from services.console.domain.commands import list_acts
from services.console.domain.conversations import list_turns, tell_feedback, tell_question
from services.console.domain.figures import (
    calculate_share_interval,
    tell_age,
    tell_count,
    tell_duration,
    tell_number,
    tell_percent,
)
from services.console.domain.loop import Praise, derive_mood, describe_model
from services.console.domain.tiles import calculate_progress, derive_tiles
from services.deployer.domain.rollout import InvalidCommand, RolloutStatus, next_status
from shared.errors import InvalidRequest
from shared.tables.access import ACCOUNT_ROLES

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "never"),
        (0, "0 s"),
        (59.6, "1 min"),
        (61, "1 min"),
        (3_700, "1 h 1 min"),
        (190_000, "2 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_durations_are_told_in_two_units_at_most(seconds: float | None, told: str):
    assert tell_duration(seconds) == told


def test_figures_carry_their_unit_and_unknown_ones_say_so():
    assert [tell_percent(None), tell_percent(0.0514), tell_percent(1.0)] == ["unknown", "5.1%", "100%"]
    assert [tell_number(1234567), tell_number(0.123456), tell_number(None), tell_number("x")] == [
        "1,234,567",
        "0.1235",
        "",
        "x",
    ]
    assert [tell_count(7, 10), tell_count(11, 10)] == ["7", "more than 10"]
    assert [tell_age(None, NOW), tell_age(NOW - timedelta(hours=2), NOW)] == ["not yet", "2 h ago"]


def test_the_interval_of_a_share_holds_it_and_stays_within_bounds():
    for ups, votes in ((0, 1), (1, 1), (0, 40), (40, 40), (31, 40)):
        low, high = calculate_share_interval(ups, votes)
        assert 0 <= low <= ups / votes <= high <= 1
    low, high = calculate_share_interval(80, 100)
    assert (round(low, 3), round(high, 3)) == (0.711, 0.867)  # Wilson's, as in any table


@pytest.mark.parametrize("role", ACCOUNT_ROLES)
def test_everybody_begins_on_a_page_of_their_own(role: str):
    assert choose_home(role) in {page.path for page in list_pages(role)}


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil",
        "/\\evil",
        "https://evil",
        "evil",
        "",
        None,
        "/a\nb",
        "/a b",
        "/\x00",
        "/sign-in",
        "/sign-out",
        "\\\\evil",
    ],
)
def test_no_address_elsewhere_is_followed(wanted: str | None):
    assert derive_local_path(wanted, "/home") == "/home"


def test_cursors_come_back_and_foreign_ones_are_refused():
    assert decode_cursor(encode_cursor(NOW, "a b")) == (NOW, "a b")
    for wrong in ("x", "eA", encode_cursor(NOW.replace(tzinfo=None), "k"), encode_cursor(NOW, "")):
        with pytest.raises(InvalidRequest):
            decode_cursor(wrong)


@pytest.mark.parametrize(
    "state", ["awaiting_approval", "canary", "paused", "champion", "rejected", "aborted", "rolled_back"]
)
@pytest.mark.parametrize("paused_from", [None, "awaiting_approval", "canary"])
@pytest.mark.parametrize("stage", [None, 0, 1])
def test_a_button_is_shown_exactly_where_the_deployer_takes_the_command(
    state: Any, paused_from: Any, stage: int | None
):
    if (state == "paused") != (paused_from is not None) or (stage is not None and "canary" not in (state, paused_from)):
        return
    rollout = SimpleNamespace(
        state=state, paused_from=paused_from, stage=stage, candidate_version="2", champion_version="1", limits=None
    )
    shown = {act.command for act in list_acts(rollout, is_champion=False)}
    status = RolloutStatus(state, stage, paused_from)
    commands: Any = ("approve", "reject", "pause", "resume", "abort", "promote")
    taken = set()
    for command in commands:
        try:
            next_status(status, command, stages=2)
        except InvalidCommand:
            continue
        taken.add(command)
    if "reject" in taken:
        taken.discard("abort")  # the same for who waits for an approval, by the name that says it
    assert shown == taken
    for act in list_acts(rollout, is_champion=state == "champion"):
        assert act.consequence.endswith(".")


def test_a_tiles_interval_is_never_narrower_than_the_normal_one():
    guard = {"name": "outcome", "action": "roll_back", "e_value": 1.0, "acts_at": 40.0, "is_breached": False}
    evidence = {
        "users": {"champion": 300, "canary": 100},
        "delta": 0.05,
        "guardrails": [guard | {"champion": 0.7, "canary": 0.75}],
    }
    [tile] = derive_tiles(evidence, 400)
    plain = 1.959964 * (0.7 * 0.3 / 300 + 0.75 * 0.25 / 100) ** 0.5
    assert tile.reach is not None
    assert plain <= tile.reach < 1.1 * plain
    assert 0 < tile.low < tile.at < tile.high < 300
    assert tile.bound is not None
    assert tile.bound < 150 < tile.at


def test_a_tile_without_outcomes_shows_no_interval():
    guard = {"name": "errors", "action": "roll_back", "e_value": 1.0, "acts_at": 40.0, "is_breached": False}
    [tile] = derive_tiles({"users": {}, "guardrails": [guard | {"champion": None, "canary": None}]}, 0)
    assert (tile.difference, tile.reach, tile.evidence) == (None, None, 0.0)


@pytest.mark.parametrize(("e_value", "share"), [(0.0, 0.0), (1.0, 0.0), (10.0, 0.5), (100.0, 1.0), (1e9, 1.0)])
def test_evidence_fills_its_bar_by_the_logarithm(e_value: float, share: float):
    assert calculate_progress(e_value, 100.0) == pytest.approx(share)


def test_one_sentence_says_how_the_model_is_doing():
    assert "heliotrope adopt" in describe_model(None, NOW)
    assert "nobody has voted" in describe_model(Praise("3", 0, 0, None), NOW)
    told = describe_model(Praise("3", 80, 100, NOW - timedelta(days=2)), NOW)
    assert told == (
        "Version 3 is the champion, for 2 d: 80% of its latest 100 votes are praise (95% interval 71 to 87%)."
    )
    assert "too few" in describe_model(Praise("3", 3, 4, None), NOW)


def test_a_stage_moves_rests_waits_or_is_in_trouble():
    just, old = NOW - timedelta(seconds=10), NOW - timedelta(hours=1)
    assert [derive_mood(just, NOW), derive_mood(old, NOW), derive_mood(None, NOW)] == ["moving", "quiet", "empty"]
    assert [derive_mood(old, NOW, waits=True), derive_mood(just, NOW, failed=True)] == ["waiting", "trouble"]


def test_conversations_are_told_with_their_tool_calls():
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "where?"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "track"}}]},
    ]
    assert [(turn.role, turn.text) for turn in list_turns(messages)] == [
        ("user", "where?"),
        ("assistant", "calls track"),
    ]
    assert tell_question(messages) == "where?"
    assert tell_feedback({"feedback": {"type": "complaint", "category": "off_topic", "text": "no"}}) == (
        "complained: off topic",
        "no",
    )
    assert tell_feedback({}) == ("", "")


def test_lag_is_read_out_of_metrics():
    metrics = '# HELP x\nheliotrope_consumer_lag_records{consumer="curator"} 12.0\nheliotrope_other 3\n'
    assert read_lag(metrics) == [("curator", 12.0)]
