"""The monitor and a person who asks, on rows that a model was trained on already."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from services.curator.app.bootstrap_monitor import derive_rules
from services.curator.config.settings import CuratorSettings, MonitorSettings
from services.curator.datasets.domain.snapshot import Caps, Preview
from services.curator.datasets.handlers import preview_dataset
from services.curator.monitor.handlers.look import Monitor
from services.curator.requests.handlers import UnchangedDataset, request_retrain
from shared.events import Edit, Event
from shared.ids import new_id
from shared.tables.curator import RetrainRequestRow
from shared.tables.quarantine import Quarantined
from shared.tables.trainer import Run
from tests.builders import EMBEDDER, NOON, make_feedback
from tests.integration.curator.scene import adopted, live
from tests.integration.curator.shop import MANUAL, Curator, asked, open_curator

RULES = derive_rules(
    CuratorSettings(volume_pairs=100),
    MonitorSettings(cooldown_seconds=0, minimum_pairs=5, schedule_seconds=1),
    EMBEDDER.version,
)


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path) as curator:
        curator.hear(adopted(), *live("ana", 1000, "amber"), *live("ben", 2000, "cedar"))
        yield curator


class CountedPreview:
    """The real one, which counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0
        self._preview = partial(preview_dataset, caps=Caps(200, 20), embedder=EMBEDDER)

    def __call__(self, session: Session, *, parent_version: str, now: object) -> Preview:
        self.calls += 1
        return self._preview(session, parent_version=parent_version, now=NOON)


def make_monitor(curator: Curator, preview: CountedPreview) -> Monitor:
    ask = partial(request_retrain, settings=curator.settings, curator=CuratorSettings(), embedder=EMBEDDER)
    return Monitor(curator.sessions, "heliotrope", RULES, ask, preview, tick().__next__)


def tick() -> Iterator[datetime]:
    """A minute between any two readings."""
    return (NOON + timedelta(minutes=n) for n in count(60))


def finish(curator: Curator, row: RetrainRequestRow, state: str) -> None:
    """End the training of a request, and close it."""
    run = Run(
        run_id=new_id(),
        request_id=row.request_id,
        dataset_sha256=row.dataset_sha256,
        dataset_uri="",
        parent_version="1",
        recipe={},
        recipe_sha256="",
        state=state,
        candidate_version="2" if state == "succeeded" else None,
        deadline_at=NOON,
    )
    with curator.sessions() as session, session.begin():
        session.add(run)
        request = session.get_one(RetrainRequestRow, row.request_id)
        request.state, request.closed_at = "closed", NOON


def edit_in_haste(user: str, edits: int) -> list[Event]:
    """Edits of one user, ten a second."""
    events: list[Event] = []
    for n in range(edits):
        number = 500_000 + n
        events.append(asked(number, f"How do I clean item {n}?", f"Nobody knows what cleans {n}, sorry.", user=user))
        at = NOON + timedelta(seconds=n / 10)
        edit = Edit(text=f"Nobody knows what cleans {n} best: ask us by mail, order {n * 7}.")
        events.append(make_feedback(number, number, edit, received_at=at, user=user))
    return events


def test_300_edits_of_one_user_in_30_s_lead_to_no_request_and_to_one_count(curator: Curator) -> None:
    finish(curator, curator.retrain(), "succeeded")
    curator.hear(*edit_in_haste("mallory", 300))
    preview = CountedPreview()
    monitor = make_monitor(curator, preview)
    summaries = [monitor.look().decision.summary for _ in range(6)]
    assert len(curator.read(RetrainRequestRow)) == 1
    assert all("new" in summary for summary in summaries), summaries
    assert preview.calls == 1
    assert {row.subject_id for row in curator.read(Quarantined)} >= {"mallory"}


def test_the_same_rows_are_refused_unless_forced(curator: Curator) -> None:
    finish(curator, curator.retrain(), "succeeded")
    with pytest.raises(UnchangedDataset, match="has not changed: a model was trained on the same rows"):
        curator.retrain()
    assert len(curator.read(RetrainRequestRow)) == 1
    with curator.sessions() as session, session.begin():
        again = request_retrain(
            session,
            settings=curator.settings,
            curator=curator.own,
            embedder=EMBEDDER,
            reasons=MANUAL,
            now=NOON,
            force=True,
        )
    assert again.state == "open"


def test_a_training_that_failed_is_asked_for_once_more_and_then_no_more(curator: Curator) -> None:
    preview = CountedPreview()
    monitor = make_monitor(curator, preview)
    for _ in range(6):
        monitor.look()
        for row in curator.read(RetrainRequestRow):
            if row.state == "open":
                finish(curator, row, "failed")
    assert len(curator.read(RetrainRequestRow)) == 2
    assert preview.calls <= 3
