"""The time from a click to the champion that learned from it counts the clicks that were new to its dataset."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from services.deployer.repository.lineage import measure_click_ages
from shared.tables.curator import Cell, Dataset, Feedback, Interaction, Pair, Prompt, RetrainRequestRow

PROMOTED = datetime(2026, 11, 22, 12, tzinfo=UTC)
REQUEST = UUID(int=1)
ANSWER = UUID(int=2)


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    """Two datasets, the second frozen at sequence 20 on top of the first at 10; its request is `REQUEST`."""
    engine = create_engine(database_url)
    with Session(engine) as opened:
        opened.add_all([Cell(cell="c", split="train")])
        opened.flush()
        opened.add(Prompt(prompt_hash="p", messages=[], cell="c", split="train"))
        opened.flush()
        opened.add(
            Interaction(
                interaction_id=ANSWER,
                key_id="k",
                prompt_hash="p",
                answer="a",
                model_version="1",
                served_at=PROMOTED,
                content_hash="h",
                event={},
            )
        )
        for sha256, parent, through in (("first", None, 10), ("second", "first", 20)):
            opened.add(
                Dataset(dataset_sha256=sha256, uri="", parent_sha256=parent, manifest={}, through_sequence=through)
            )
        opened.add(
            RetrainRequestRow(
                request_id=REQUEST,
                dataset_sha256="second",
                parent_version="1",
                reasons=[],
                state="closed",
                requested_at=PROMOTED,
                deadline_at=PROMOTED,
                announced_at=PROMOTED,
            )
        )
        yield opened
    engine.dispose()


def add_pair(session: Session, sequence: int, *ages: int, state: str = "active") -> None:
    """A pair that rests on clicks which came so many seconds before the promotion."""
    clicks = [UUID(int=1_000 * sequence + age) for age in ages]
    for click, age in zip(clicks, ages, strict=True):
        at = PROMOTED - timedelta(seconds=age)
        session.add(
            Feedback(
                event_id=click,
                key_id="k",
                interaction_id=ANSWER,
                type="thumb",
                happened_at=at - timedelta(days=400),  # an import says when it was collected, not when it came
                received_at=at,
                content_hash="h",
                state="attached",
                event={},
            )
        )
    session.add(
        Pair(
            pair_id=str(sequence),
            prompt_hash="p",
            rule="opposed",
            rule_version=1,
            chosen="a",
            rejected="b",
            rejected_interaction_id=ANSWER,
            rejected_version="1",
            evidence=clicks,
            epsilon=0.1,
            state=state,
            sequence=sequence,
        )
    )
    session.flush()


def test_only_what_was_new_to_the_dataset_is_timed(session: Session):
    add_pair(session, 5, 900)  # the parent had it
    add_pair(session, 15, 100, 300)
    add_pair(session, 16, 800, state="refused")
    add_pair(session, 20, 200)
    add_pair(session, 25, 1)  # came after the freezing
    assert measure_click_ages(session, REQUEST, PROMOTED, [0.5, 1.0]) == [200, 300]


def test_without_clicks_or_dataset_there_is_nothing_to_time(session: Session):
    assert measure_click_ages(session, REQUEST, PROMOTED, [0.5]) == []
    assert measure_click_ages(session, UUID(int=9), PROMOTED, [0.5]) == []
