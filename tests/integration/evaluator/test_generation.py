"""Which prompts are asked, and what becomes of a generation that fails or is interrupted."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.evaluator.domain.pair_accuracy import HeldOutPair
from services.evaluator.ports import Generated, GenerationFailed, GenerationJob, Progress, TaskJob, TasksFailed
from services.evaluator.repository.evaluations import claim_generating
from services.evaluator.repository.prompts import load_gate_prompts
from shared.ids import new_id
from shared.tables import curator
from tests.integration.evaluator.scene import (
    BEGINNING,
    ITEMS,
    Room,
    ScriptedGenerator,
    completed_training,
    fill,
    open_voting,
    prefers_candidate,
)


def test_prompts_that_were_trained_on_are_left_out_and_block_the_candidate(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path, leaked=("lamp",))
    room.hear(completed_training())
    room.generate()
    [job] = room.generator.jobs
    assert len(job.prompts) == 9
    assert not any("lamp" in prompt.messages[-1]["content"] for prompt in job.prompts)
    room.vote_on_everything(prefers_candidate)
    assert room.completion.run_next() == "fail"
    contamination = next(gate for gate in room.announced()[0].gates if gate.name == "contamination")
    assert (contamination.verdict, contamination.effect) == ("fail", 0.1)


def test_a_conversation_that_the_candidate_answered_in_is_no_gate_for_it(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    with room.sessions() as session, session.begin():
        before = load_gate_prompts(session, ["2"])
        asked = session.scalars(select(curator.Interaction).order_by(curator.Interaction.prompt_hash)).all()
        asked[0].model_version = "2"
        asked[1].conversation_id = "talk"
        session.add(
            curator.Interaction(
                interaction_id=new_id(),
                key_id="k",
                prompt_hash=asked[2].prompt_hash,
                answer="Oh.",
                model_version="2",
                served_at=BEGINNING,
                conversation_id="talk",
                content_hash="c",
                event={},
            )
        )
        session.flush()
        gone = {prompt.prompt_hash for prompt in before} - {
            one.prompt_hash for one in load_gate_prompts(session, ["2"])
        }
        assert gone == {row.prompt_hash for row in asked[:3]}
        assert [one.prompt_hash for one in load_gate_prompts(session, ["1"])] == [asked[0].prompt_hash]


def test_without_gate_prompts_the_verdict_is_inconclusive_with_words(room: Room) -> None:
    room.hear(completed_training())
    room.generate()
    assert room.completion.run_next() == "inconclusive"
    assert room.announced()[0].gates[0].summary == "there are no gate prompts to judge by"


@pytest.mark.parametrize(("guilty", "verdict"), [("2", "fail"), ("1", "inconclusive"), (None, "inconclusive")])
def test_generation_that_fails_three_times_ends_with_a_verdict(
    room: Room, tmp_path: Path, guilty: str | None, verdict: str
) -> None:
    fill(room, tmp_path)
    room.generator.failure = GenerationFailed("OSError: no weights", version=guilty)
    room.hear(completed_training())
    assert [room.generate() for _ in range(3)] == [False, False, True]
    assert room.completion.run_next() == verdict
    gate = room.announced()[0].gates[0]
    assert gate.name == "generation"
    assert gate.summary.endswith("OSError: no weights")


def test_an_unknown_version_ends_with_a_verdict(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    room.hear(completed_training(candidate_version="99"))
    while not room.generate():
        pass
    assert room.completion.run_next() == "inconclusive"
    assert "no model version 99" in room.announced()[0].gates[0].summary


def test_a_dead_worker_loses_its_claim_and_another_starts_again(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    room.hear(completed_training())
    now = room.clock()
    with room.sessions() as session, session.begin():
        assert claim_generating(session, now, stale_before=now)  # and then it dies
    assert not room.generate()
    room.clock.advance(room.settings.heartbeat_expiry_seconds + 1)
    assert room.generate()
    assert room.evaluation().state == "voting"


def test_a_database_that_goes_away_costs_no_generation(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    room.hear(completed_training())
    away = threading.Event()

    def open_session() -> Session:
        if away.is_set():
            raise ConnectionError("the database is away")
        return room.sessions()

    class Outlasting(ScriptedGenerator):
        def generate(self, job: GenerationJob, heartbeat: Callable[[Progress | None], None]) -> Generated:
            away.set()
            answers = super().generate(job, heartbeat)
            away.clear()
            return answers

    generation = replace(room.generation, sessions=open_session, generator=Outlasting(room.generator.scripts))
    assert generation.run_next(threading.Event())
    assert (room.evaluation().state, room.evaluation().attempts) == ("voting", 1)


def test_told_to_stop_it_gives_the_evaluation_back_at_once(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path)
    room.hear(completed_training())
    stop = threading.Event()
    stop.set()
    assert not room.generation.run_next(stop)
    row = room.evaluation()
    assert (row.state, row.claimed_by, row.attempts) == ("generating", None, 0)
    assert room.generate()


def test_progress_and_votes_can_be_watched(room: Room, tmp_path: Path) -> None:
    open_voting(room, tmp_path)
    [summary] = room.get("/v1/evaluations", role="ops").json()["evaluations"]
    assert summary["state"] == "voting"
    assert summary["progress"]["total"] == 20
    assert summary["progress"]["seconds_left"] >= 0
    assert summary["votes"] == {"cast": 0, "asked": 20}
    room.vote_on_everything(prefers_candidate)
    room.completion.run_next()
    detail = room.get(f"/v1/evaluations/{summary['evaluation_id']}", role="admin").json()
    assert detail["verdict"] == "pass"
    assert len(detail["report"]["prompts"]) == 10
    assert detail["report"]["prompts"][0]["candidate_scores"] == [1.0, 1.0]
    assert room.get(f"/v1/evaluations/{new_id()}", role="ops").status_code == 404


@dataclass
class ScriptedTasks:
    """By checkpoint folder: which of twenty documents are right, or why there is no telling."""

    right: dict[str, int | str]
    jobs: list[TaskJob] = field(default_factory=list)

    def run(self, job: TaskJob, heartbeat: Callable[[], None]) -> dict[str, bool]:
        self.jobs.append(job)
        heartbeat()
        told = self.right[Path(job.model).name]
        if isinstance(told, str):
            raise TasksFailed(told)
        return {f"task:own:{n}": n < told for n in range(20)}


@pytest.mark.parametrize(
    ("told", "verdict", "cause"), [(5, "fail", None), ("bad.yaml: no mapping", "inconclusive", "error")]
)
def test_a_teams_own_tasks_are_a_gate(
    room: Room, tmp_path: Path, told: int | str, verdict: str, cause: str | None
) -> None:
    for version in ("1", "2"):
        (tmp_path / f"of {version}").mkdir()
        tags = cast(dict[str, str], room.registry.load_version(version).tags)
        tags["served_model"] = str(tmp_path / f"of {version}")
    runner = ScriptedTasks({"of 1": 20, "of 2": told})
    settings = room.settings.model_copy(update={"tasks": tmp_path / "tasks"})
    generation = replace(room.generation, settings=settings, tasks=runner)
    fill(room, tmp_path)
    room.hear(completed_training())
    assert generation.run_next(threading.Event())
    room.vote_on_everything(prefers_candidate)
    assert room.completion.run_next() == verdict
    assert runner.jobs[0].documents == 200
    [announced] = room.announced()
    gate = next(gate for gate in announced.gates if gate.name == "tasks")
    assert (gate.verdict, gate.cause, gate.blocks) == (verdict, cause, True)


def test_held_out_pairs_of_clean_gate_prompts_are_looked_at(room: Room, tmp_path: Path) -> None:
    fill(room, tmp_path, leaked=("lamp",))
    with room.sessions() as session, session.begin():
        for prompt in session.scalars(select(curator.Prompt)).all():
            asked = session.scalars(
                select(curator.Interaction).where(curator.Interaction.prompt_hash == prompt.prompt_hash)
            ).one()
            for state in ("active", "contested"):
                session.add(
                    curator.Pair(
                        pair_id=f"{state}-{prompt.cell}",
                        prompt_hash=prompt.prompt_hash,
                        rule="choice",
                        rule_version=1,
                        chosen="Send it back.",
                        rejected="Oh.",
                        rejected_interaction_id=asked.interaction_id,
                        rejected_version="1",
                        evidence=[],
                        epsilon=0.1,
                        state=state,
                    )
                )
    looks = {f"active-cell-{item}": HeldOutPair(f"cell-{item}", 2.0, 12, 3) for item in ITEMS}
    answer = room.generator.generate

    def generate(job: GenerationJob, heartbeat: Callable[[Progress | None], None]) -> Generated:
        seen = {pair.pair_id: looks[pair.pair_id] for pair in job.pairs}
        return replace(answer(job, heartbeat), pairs=seen)

    room.generator.generate = generate  # type: ignore[method-assign]
    room.hear(completed_training())
    assert room.generate()
    [job] = room.generator.jobs
    assert len(job.pairs) == 9, "neither what is contested, nor what training saw"
    assert room.evaluation().generation["held_out_pairs"][0] == {
        "group": "cell-chair", "margin": 2.0, "chosen_tokens": 12, "rejected_tokens": 3,
    }  # fmt: skip
    room.vote_on_everything(prefers_candidate)
    room.completion.run_next()
    gates = {gate.name: gate for gate in room.announced()[0].gates}
    assert (gates["pair_accuracy"].n, gates["pair_accuracy"].blocks) == (9, False)
    assert gates["pair_accuracy_length_matched"].n == 0
