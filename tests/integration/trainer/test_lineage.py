"""Lineage over generations: anchors and replay."""

from pathlib import Path

from sqlalchemy import func, update

from services.trainer.handlers.context import WorkerContext
from services.trainer.handlers.execution import execute_next_run
from services.trainer.repository import load_snapshots
from shared.tables.curator import Dataset
from shared.tables.trainer import Run
from tests.integration.trainer.scene import Sessions, load_run, make_context, make_request, request, train_quickly


def train_parent(context: WorkerContext, sessions: Sessions, **changes: object) -> Run:
    run = request(sessions, make_request(**changes))
    execute_next_run(None, context)
    return load_run(sessions, run.run_id)


def test_the_anchor_is_carried_from_parent_to_child(sessions: Sessions, tmp_path: Path):
    context = make_context(sessions, tmp_path, train_quickly)
    first = train_parent(context, sessions)
    second = train_parent(context, sessions, parent_version=first.candidate_version)
    version = context.registry.load_version(str(second.candidate_version))
    assert (version.tags["parent_version"], version.tags["anchor_version"]) == ("2", "1")


def test_a_candidate_too_far_from_the_anchor_is_not_registered(sessions: Sessions, tmp_path: Path):
    context = make_context(sessions, tmp_path, train_quickly)
    run = request(sessions, make_request())
    ceiling = {"drift": {"examples": 4, "max_parent_kl": 0.2, "max_anchor_kl": None}}
    with sessions() as session, session.begin():
        session.execute(update(Run).where(Run.run_id == run.run_id).values(recipe=run.recipe | ceiling))
    execute_next_run(None, context)
    done = load_run(sessions, run.run_id)
    assert (done.state, done.candidate_version) == ("failed", None)
    assert done.reason == "the candidate is 0.25 nats a token from its parent, above drift.max_parent_kl 0.2"


def test_replay_asks_the_chain_of_datasets_and_skips_what_was_erased(sessions: Sessions):
    chain = [
        ("a", None, ["1"], None),
        ("b", "a", ["1", "2"], "x"),
        ("x", None, ["1"], None),
        ("c", "b", ["1", "3"], None),
    ]
    with sessions() as session, session.begin():
        for name, parent, pairs, replaced_by in [*chain, ("d", "c", ["1", "4"], None)]:
            erased_at = func.now() if replaced_by else None
            manifest = {"pair_ids": pairs, "label_ids": [f"label-{name}"]}
            session.add(
                Dataset(
                    dataset_sha256=name,
                    uri=f"/{name}",
                    parent_sha256=parent,
                    manifest=manifest,
                    erased_at=erased_at,
                    replaced_by=replaced_by,
                )
            )
    with sessions() as session:
        found = load_snapshots(session, "d")
    assert [(one.name, sorted(one.ids)) for one in found] == [
        ("c", ["1", "3", "label-c"]),
        ("b", ["1", "label-x"]),
        ("a", ["1", "label-a"]),
    ]
