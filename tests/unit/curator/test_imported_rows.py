"""Rows that an operator imported, from the file to the dataset."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cli.exchange.events import AnyEvent, Import
from cli.exchange.found import Options
from cli.exchange.sources import pairs
from services.curator.datasets.domain.snapshot import Caps, derive_snapshot
from services.curator.weighing.domain.curation import curate
from services.curator.weighing.domain.history import Decisions, FeedbackRecord, History, PairEvidence
from services.curator.weighing.domain.quarantine import derive_quarantine
from services.curator.weighing.domain.scripted_crowds import count_scripts_as_one
from shared.ids import new_id
from shared.user_hashes import UserHashes
from tests.builders import MORNING
from tests.unit.curator.shop_votes import GOOD, make_item
from tests.unit.curator.small_store import SmallStore

NOBODY = Decisions()
OLD = Import("old", "pairs", datetime(2000, 1, 1, tzinfo=UTC), UserHashes("a secret of sixteen"))


def import_rows(rows: int, annotators: int, overlap: int = 1) -> History:
    """Each row is judged by `overlap` annotators, nine times in ten rightly."""
    store, rng = SmallStore(), random.Random(5)
    for number in range(rows):
        _, better, worse = make_item(number)
        for annotator in range(overlap):
            right = rng.random() < 0.9
            row = {
                "prompt": f"question {number} about order {number * 7}",
                "chosen": better if right else worse,
                "rejected": worse if right else better,
                "user_id": f"annotator{(number + annotator) % annotators}",
            }
            for event in OLD.derive_events(pairs.read(row, Options())):
                store.store(event)
    return store.read()[0]


def test_500_rows_of_5_annotators_are_trained_on() -> None:
    history = import_rows(500, 5)
    assert derive_quarantine(history, NOBODY).waiting == {}
    snapshot = derive_snapshot(curate(history, NOBODY), history, {}, Caps(per_user=200, per_prompt=20))
    assert set(snapshot.left_out.values()) <= {"too_uncertain"}
    assert {pair.pair_id for pair in history.pairs if is_right(pair)} <= {one.item.pair_id for one in snapshot.train}


def is_right(pair: PairEvidence) -> bool:
    return set(pair.chosen.split()) <= set(GOOD)


def test_annotators_who_were_given_the_same_rows_are_no_copies_of_each_other() -> None:
    assert derive_quarantine(import_rows(60, 4, overlap=3), NOBODY).waiting == {}


def test_imports_have_no_cap_per_user() -> None:
    history = import_rows(300, 1)
    snapshot = derive_snapshot(curate(history, NOBODY), history, {}, Caps(per_user=50, per_prompt=20))
    assert len(snapshot.train) == 300


def test_copied_text_is_looked_for_in_imports_too() -> None:
    text = "Buy our wonderful kettle at the shop around the corner today"
    said = [FeedbackRecord(new_id(), user, MORNING, text=text, key_id="import") for user in "abcdefghijkl"]
    history = History([], [], {one.event_id: one for one in said}, {})
    assert set(derive_quarantine(history, NOBODY).waiting.values()) == {"copied_text"}


TRUE, FALSE = ("chosen", "rejected"), ("rejected", "chosen")


def vote(number: int, says: tuple[str, str], user: str, about: Import, at: datetime | None = None) -> list[AnyEvent]:
    """One row on a prompt of the shop, by a user of an import; without a time where `at` is None."""
    _, better, worse = make_item(number)
    row = {"prompt": f"question {number} about order {number * 7}", says[0]: better, says[1]: worse, "user_id": user}
    dated = row if at is None else row | {"at": at.isoformat()}
    return list(about.derive_events(pairs.read(dated, Options())))


def name_import(name: str) -> Import:
    return Import(name, "pairs", datetime(2000, 1, 1, tzinfo=UTC), UserHashes("a secret of sixteen"))


def flood(rows: int, rows_each: int = 1, spread: timedelta | None = None, prompts: int = 60) -> History:
    """On 60 prompts three people chose the better answer, each at their own time; the rows of a script, by invented
    users of so many rows each, say the opposite, all without a time or each at one of its own.
    """
    store, script = SmallStore(), name_import("script")
    for number in range(60):
        for person in range(3):
            at = MORNING + timedelta(minutes=3 * number + person)
            for event in vote(number, TRUE, f"person{person}", name_import("people"), at):
                store.store(event)
    for row in range(rows):
        said_at = MORNING + row * spread if spread else None
        user, number = f"invented{row // rows_each}", row % prompts
        for event in vote(number, FALSE, user, script, said_at):
            store.store(event)
    return store.read()[0]


def count_standing(history: History) -> Counter[bool]:
    """Of the pairs that stand: whether they are right."""
    standing = [pair.item for pair in curate(history, NOBODY).pairs if pair.reason is None]
    better = {make_item(number)[1] for number in range(60)}
    return Counter(pair.chosen in better for pair in standing)


@pytest.mark.parametrize(
    "rows, rows_each, spread",
    [(10_000, 1, None), (1_200, 5, None), (1_200, 1, timedelta(seconds=1)), (1_200, 5, timedelta(hours=7))],
    ids=["no times", "no times, 5 rows each", "a second apart", "hours apart, 5 rows each"],
)
def test_the_rows_of_a_script_are_no_crowd_whatever_their_times(
    rows: int, rows_each: int, spread: timedelta | None
) -> None:
    history = flood(rows, rows_each, spread)
    assert len({one.user for one in history.feedback.values()}) == rows // rows_each + 3
    standing = count_standing(history)
    assert standing[True] >= 3 * 60
    assert standing[False] == 0


def test_of_a_crowd_with_one_voice_the_majority_is_heard_where_nobody_else_speaks() -> None:
    store, about = SmallStore(), name_import("trial")
    for row in range(1_200):
        for event in vote(row % 60, FALSE if row // 60 % 5 == 0 else TRUE, f"visitor{row}", about):
            store.store(event)
    standing = count_standing(store.read()[0])
    assert (standing[True], standing[False]) == (1_200 * 4 // 5, 0)


def test_a_team_of_more_than_50_whose_tool_kept_no_times_is_no_script() -> None:
    history = import_rows(200, 60, overlap=5)
    assert len({one.user for one in history.feedback.values()}) == 60
    assert count_scripts_as_one(history) is history


def test_strangers_on_prompts_of_their_own_stay_users_if_they_spoke_at_times_of_their_own() -> None:
    store, about = SmallStore(), name_import("logs")
    for row in range(80):
        for event in vote(row, TRUE, f"visitor{row}", about, MORNING + timedelta(minutes=row)):
            store.store(event)
    history = store.read()[0]
    merged = count_scripts_as_one(history)
    assert [one.user for one in merged.feedback.values()] == [one.user for one in history.feedback.values()]


def test_a_user_whom_we_heard_ourselves_is_no_stranger() -> None:
    history = flood(120)
    known = next(one for one in history.feedback.values() if one.source == "script")
    heard = replace(known, event_id=new_id(), source=None, key_id="shop")
    merged = count_scripts_as_one(replace(history, feedback={**history.feedback, heard.event_id: heard}))
    assert merged.feedback[known.event_id].user == known.user
    assert {one.user for one in merged.feedback.values() if one.source == "script"} == {known.user, "import:script"}


def test_what_no_rule_can_tell_a_script_whose_invented_users_judge_as_much_as_annotators_passes_for_a_team() -> None:
    """As docs/curation.md says. Nothing in the rows tells them apart."""
    standing = count_standing(flood(1_200, rows_each=20, spread=timedelta(seconds=1)))
    assert standing[False] > standing[True]


def test_a_script_without_users_is_one_anonymous_caller() -> None:
    history = import_rows(40, 5)
    nameless = {key: replace(one, user=None) for key, one in history.feedback.items()}
    assert {tuple(history.list_users((key,))) for key in nameless} != {(None,)}
    anonymous = replace(history, feedback=nameless)
    assert {tuple(anonymous.list_users((key,))) for key in nameless} == {(None,)}
    assert curate(anonymous, NOBODY).reliability.raters == {}
