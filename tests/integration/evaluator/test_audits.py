"""The champion before the gates on a schedule: a row, a report, a metric; nobody is promoted and nobody is told."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from services.evaluator.handlers.auditing import AuditHandler
from services.evaluator.repository.prompts import load_gate_uses
from services.evaluator.tasks import measure
from shared.tables.deployer import RoutingGeneration
from shared.tables.evaluator import Evaluation
from shared.tables.trainer import Run
from tests.integration.evaluator.scene import (
    BEGINNING,
    DATASET,
    Room,
    completed_training,
    fill,
    prefers_candidate,
)

DAY = 86_400


def reign(room: Room, *champions: str) -> None:
    """Routing tables that name these champions, one a day, the last in force."""
    with room.sessions() as session, session.begin():
        session.add_all(
            RoutingGeneration(
                family="heliotrope",
                generation=number,
                table={"champion": {"version": version}},
                created_at=BEGINNING + timedelta(days=number),
            )
            for number, version in enumerate(champions)
        )


def audit(room: Room) -> AuditHandler:
    return AuditHandler(room.sessions, "heliotrope", room.settings, room.clock)


def read_outcome() -> str | None:
    """What the metric says of the last audit."""
    outcomes = ("pass", "fail", "inconclusive", "error")
    return next(
        (each for each in outcomes if REGISTRY.get_sample_value("heliotrope_champion_audit", {"outcome": each})), None
    )


def test_an_audit_is_opened_once_in_so_many_days_of_a_reign_that_had_one_before(room: Room) -> None:
    assert not audit(room).open_due(), "nobody reigns"
    reign(room, "1", "1")
    room.clock.advance(60 * DAY)
    assert not audit(room).open_due(), "the first champion is held against nobody"
    reign_of_two = [("heliotrope", number, version) for number, version in ((2, "2"), (3, "2"))]
    with room.sessions() as session, session.begin():
        for family, number, version in reign_of_two:
            at = room.clock.now + timedelta(days=number - 2)
            table = {"champion": {"version": version}}
            session.add(RoutingGeneration(family=family, generation=number, table=table, created_at=at))
    room.clock.advance(29 * DAY)
    assert not audit(room).open_due(), "since its first table, not since the last champion's"
    room.clock.advance(DAY)
    assert not replace(audit(room), settings=room.settings.model_copy(update={"audit_days": 0})).open_due()
    assert audit(room).open_due()
    assert not audit(room).open_due(), "one at a time"
    row = room.evaluation()
    assert (row.kind, row.candidate_version, row.champion_version) == ("audit", "2", "1")
    assert row.request_id == row.evaluation_id


@pytest.mark.parametrize("prefers_today", [True, False])
def test_the_champion_is_judged_by_the_same_gates_and_nobody_is_told(
    room: Room, tmp_path: Path, prefers_today: bool
) -> None:
    fill(room, tmp_path)
    reign(room, "1", "2")
    with room.sessions() as session, session.begin():
        session.add(
            Run(
                request_id=completed_training().request_id,
                run_id=completed_training().run_id,
                recipe_name="r",
                dataset_sha256=DATASET,
                dataset_uri="",
                parent_version="1",
                recipe={},
                recipe_sha256="r" * 64,
                state="succeeded",
                candidate_version="2",
                deadline_at=BEGINNING,
            )
        )
    room.clock.advance(32 * DAY)
    assert audit(room).open_due()
    assert room.generate()
    assert room.evaluation().training["run_id"] == str(completed_training().run_id)
    assert "error_budget" not in room.evaluation().generation
    prefer = prefers_candidate if prefers_today else lambda left, right: "left" if right.startswith("Send") else "right"
    assert room.vote_on_everything(prefer) == 20
    measure(room.sessions, room.completion, audit(room))
    assert read_outcome() is None
    verdict = "pass" if prefers_today else "fail"
    assert room.completion.run_next() == verdict
    assert room.announced() == []
    room.clock.advance(DAY)
    assert room.completion.announce_again() == 0
    measure(room.sessions, room.completion, audit(room))
    assert read_outcome() == verdict
    row = room.evaluation()
    assert row.report is not None
    gates = {gate["name"]: gate["verdict"] for gate in row.report["gates"]}
    assert gates["win_rate"] == verdict
    assert gates["contamination"] == "pass"
    assert row.report_uri
    with room.sessions() as session:
        assert load_gate_uses(session) == {}, "an audit chooses nothing, and wears no prompt out"
    assert REGISTRY.get_sample_value("heliotrope_false_promotions", {"of": "spent"}) == 0


def test_a_candidate_goes_first_and_an_adopted_champion_is_judged_without_its_data(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    reign(room, "1", "2")
    room.clock.advance(32 * DAY)
    assert audit(room).open_due()
    room.registry.register("folder", None, {"served_model": str(tmp_path)})
    room.generator.scripts["3"] = room.generator.scripts["2"]
    room.hear(completed_training(candidate_version="3"))
    assert room.generate()
    assert room.generator.jobs[0].models[-1].version == "3"
    assert room.generate()
    with room.sessions() as session:
        row = session.scalars(select(Evaluation).where(Evaluation.kind == "audit")).one()
    assert "contamination" in row.generation["not_measured"]
    measure(room.sessions, room.completion, audit(room))
    assert REGISTRY.get_sample_value("heliotrope_false_promotions", {"of": "spent"}) == 0.025
    assert REGISTRY.get_sample_value("heliotrope_false_promotions", {"of": "allowed"}) == 0.5


def test_an_audit_that_cannot_be_made_says_so(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    reign(room, "1", "9")
    room.clock.advance(32 * DAY)
    assert audit(room).open_due()
    for _ in range(3):
        room.generate()
    assert room.completion.run_next() == "inconclusive"
    measure(room.sessions, room.completion, audit(room))
    assert read_outcome() == "error"
