"""Rows that an operator imported, from the file to the dataset."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cli.exchange.events import Import
from cli.exchange.found import Options
from cli.exchange.sources import pairs
from services.curator.datasets.domain.snapshot import Caps, derive_snapshot
from services.curator.weighing.domain.curation import curate
from services.curator.weighing.domain.history import Decisions, FeedbackRecord, History, PairEvidence
from services.curator.weighing.domain.quarantine import derive_quarantine
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


def flood(users: int, script_at: datetime | None) -> History:
    """On 60 prompts three people chose the better answer, each at their own time; the rows of a script, each with an
    invented user of its own, say the opposite. Without `script_at` each row has a time of its own."""
    store = SmallStore()
    people = Import("people", "pairs", MORNING, UserHashes("a secret of sixteen"))
    script = Import("script", "pairs", script_at or MORNING, UserHashes("a secret of sixteen"))
    for number in range(60):
        _, better, worse = make_item(number)
        prompt = f"question {number} about order {number * 7}"
        row = {"prompt": prompt, "chosen": better, "rejected": worse}
        for person in range(3):
            at = (MORNING + timedelta(minutes=3 * number + person)).isoformat()
            for event in people.derive_events(pairs.read(row | {"user_id": f"person{person}", "at": at}, Options())):
                store.store(event)
        for copy in range(users // 60):
            invented = {"prompt": prompt, "chosen": worse, "rejected": better, "user_id": f"invented{number}-{copy}"}
            each_at = "" if script_at else (MORNING + timedelta(seconds=60 * number + copy)).isoformat()
            for event in script.derive_events(pairs.read(invented | {"at": each_at}, Options())):
                store.store(event)
    return store.read()[0]


def count_standing(history: History) -> Counter[bool]:
    """Of the pairs that stand: whether they are right."""
    standing = [pair.item for pair in curate(history, NOBODY).pairs if pair.reason is None]
    better = {make_item(number)[1] for number in range(60)}
    return Counter(pair.chosen in better for pair in standing)


def test_10000_rows_of_a_script_with_one_time_stamp_are_no_crowd() -> None:
    history = flood(10_000 // 60 * 60, datetime(2000, 1, 1, tzinfo=UTC))
    assert len({one.user for one in history.feedback.values()}) > 9_900
    standing = count_standing(history)
    assert standing[True] >= 3 * 60
    assert standing[False] == 0


def test_without_that_rule_the_same_rows_would_outvote_the_people() -> None:
    """The same invented users with a time each: nothing tells them from a crowd."""
    standing = count_standing(flood(1_200, None))
    assert standing[False] > standing[True]


def test_a_script_without_users_is_one_anonymous_caller() -> None:
    history = import_rows(40, 5)
    nameless = {key: replace(one, user=None) for key, one in history.feedback.items()}
    assert {tuple(history.list_users((key,))) for key in nameless} != {(None,)}
    anonymous = replace(history, feedback=nameless)
    assert {tuple(anonymous.list_users((key,))) for key in nameless} == {(None,)}
    assert curate(anonymous, NOBODY).reliability.raters == {}
