"""Rows that an operator imported, from the file to the dataset."""

import random
from datetime import UTC, datetime

from cli.exchange.events import Import
from cli.exchange.found import Options
from cli.exchange.sources import pairs
from services.curator.datasets.domain.snapshot import Caps, derive_snapshot
from services.curator.weighing.domain.curation import curate
from services.curator.weighing.domain.history import Decisions, FeedbackRecord, History
from services.curator.weighing.domain.quarantine import derive_quarantine
from shared.ids import new_id
from tests.builders import MORNING
from tests.unit.curator.shop_votes import make_item
from tests.unit.curator.small_store import SmallStore

NOBODY = Decisions()
OLD = Import("old", "pairs", datetime(2000, 1, 1, tzinfo=UTC), "a secret of sixteen")


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
    assert len(snapshot.train) == 500


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
