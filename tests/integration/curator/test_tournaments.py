"""A request of several recipes: how it is asked for, counted, announced and closed."""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import update

from services.curator.config.settings import CuratorSettings
from services.curator.monitor.repository.loop import load_request_history
from services.curator.requests.api import RetrainBody
from services.curator.requests.handlers import close_ended_request
from shared.bus import Record, decode
from shared.events import RetrainRequested, TrainingCompleted
from shared.ids import new_id
from shared.tables.curator import Outbox, RetrainRequestRow
from shared.tables.trainer import Run
from tests.builders import MORNING
from tests.integration.curator.scene import adopted
from tests.integration.curator.shop import Curator, invent_history, open_curator

BOTH = ["imitate", "prefer"]


@pytest.fixture
def curator(database_url: str, tmp_path: Path) -> Iterator[Curator]:
    with open_curator(database_url, tmp_path) as curator:
        curator.own = CuratorSettings(recipe=",".join(BOTH))
        curator.hear(adopted(), *invent_history(random.Random(6)))
        yield curator


def queue(curator: Curator, row: RetrainRequestRow, recipes: Sequence[str] = BOTH) -> list[UUID]:
    """The trainer's rows of a request."""
    runs = [
        Run(
            run_id=new_id(),
            request_id=row.request_id,
            recipe_name=name,
            recipe_position=position,
            dataset_sha256=row.dataset_sha256,
            dataset_uri="",
            parent_version="1",
            recipe={},
            recipe_sha256="",
            state="running",
            deadline_at=MORNING,
        )
        for position, name in enumerate(recipes)
    ]
    with curator.sessions() as session, session.begin():
        session.add_all(runs)
        return [run.run_id for run in runs]


def end(curator: Curator, row: RetrainRequestRow, run_id: UUID, outcome: Any) -> TrainingCompleted:
    with curator.sessions() as session, session.begin():
        session.execute(update(Run).where(Run.run_id == run_id).values(state=outcome))
    return TrainingCompleted(
        request_id=row.request_id,
        run_id=run_id,
        outcome=outcome,
        parent_version="1",
        dataset_sha256=row.dataset_sha256,
        completed_at=MORNING,
    )


def test_the_request_names_all_recipes_and_for_older_readers_the_first(curator: Curator) -> None:
    row = curator.retrain()
    assert (row.recipe, row.recipes) == (BOTH[0], BOTH)
    [announced] = [decode(Record(item.topic, item.key, item.value)) for item in curator.read(Outbox)]
    assert isinstance(announced, RetrainRequested)
    assert (announced.recipe, announced.recipes) == (BOTH[0], BOTH)


def test_a_request_of_one_recipe_is_what_it_was(curator: Curator) -> None:
    curator.own = CuratorSettings(recipe="imitate")
    row = curator.retrain()
    assert (row.recipe, row.recipes) == ("imitate", None)


def test_a_tournament_counts_as_its_trainings_in_the_budget(curator: Curator) -> None:
    curator.retrain()
    with curator.sessions() as session:
        assert load_request_history(session, MORNING - timedelta(days=1)).this_month == 2
        assert load_request_history(session, MORNING + timedelta(days=1)).this_month == 0


def test_a_failed_run_closes_the_request_only_with_the_last(curator: Curator) -> None:
    row = curator.retrain()
    first, second = queue(curator, row)
    curator.hear(end(curator, row, first, "failed"))
    with curator.sessions() as session, session.begin():
        assert close_ended_request(session) is None
    assert curator.read(RetrainRequestRow)[0].state == "open"
    curator.hear(end(curator, row, second, "cancelled"))
    closed = curator.read(RetrainRequestRow)[0]
    assert (closed.state, closed.outcome) == ("closed", "training_failed")


def test_a_request_with_a_candidate_stays_open_whatever_the_others_came_to(curator: Curator) -> None:
    row = curator.retrain()
    first, second = queue(curator, row)
    curator.hear(end(curator, row, first, "succeeded"), end(curator, row, second, "failed"))
    with curator.sessions() as session, session.begin():
        assert close_ended_request(session) is None
    assert curator.read(RetrainRequestRow)[0].state == "open"


def test_the_tables_close_what_the_events_did_not(curator: Curator) -> None:
    row = curator.retrain()
    for run_id in queue(curator, row):
        end(curator, row, run_id, "failed")
    with curator.sessions() as session, session.begin():
        assert close_ended_request(session) == "training_failed"


@pytest.mark.parametrize("recipe", ["imitate,imitate", "imitate,", "../secret", ",".join(f"r{n}" for n in range(9))])
def test_a_list_of_recipes_that_makes_no_sense_is_refused(recipe: str) -> None:
    with pytest.raises(ValidationError, match="recipe"):
        CuratorSettings(recipe=recipe)
    with pytest.raises(ValidationError, match="recipes"):
        RetrainBody(recipes=recipe.split(","))
