"""One contract for every launcher: what a run that trains elsewhere shows, and how each end of it is told."""

import re
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, update

from services.trainer.handlers.execution import end_left_running
from services.trainer.handlers.requests import cancel_run
from shared.tables.trainer import Run
from tests.integration.trainer.scene import list_announced
from tests.launchers.conftest import Scene
from tests.launchers.program import LAST_WORDS, MISTAKE

pytestmark = [pytest.mark.launchers, pytest.mark.timeout(400)]


def is_under_way(run: Run) -> bool:
    return bool(run.remote and run.remote["handle"] and run.progress.get("step", 0) >= 2)


def find_handle(run: Run) -> str:
    assert run.remote is not None
    return str(run.remote["handle"])


def is_over(scene: Scene, run: Run) -> bool:
    return scene.rig.launcher.look(find_handle(run)).is_over


def cancel(scene: Scene, run_id: UUID) -> None:
    with scene.sessions() as session, session.begin():
        cancel_run(session, run_id, by="ann", topic_prefix="")


def take_away(scene: Scene, run_id: UUID) -> None:
    """As if another worker had claimed the run, and died a minute ago: the first one's signs of life are refused."""
    long_ago = func.now() - timedelta(minutes=1)
    claimed = update(Run).where(Run.run_id == run_id)
    with scene.sessions() as session, session.begin():
        session.execute(claimed.values(fencing_token=Run.fencing_token + 1, heartbeat_at=long_ago))


def test_success_registers_the_candidate_and_shows_every_step(scene: Scene):
    run = scene.ask("good")
    scene.work()
    done = scene.load(run)
    assert (done.state, done.reason) == ("succeeded", "all steps taken")
    assert (done.progress["step"], done.progress["total"]) == (4, 4)
    assert done.progress["loss"] == 0.25
    assert done.remote is not None
    assert not done.remote["open"]
    assert [event.outcome for event in list_announced(scene.sessions)] == ["succeeded"]
    assert scene.context.registry.load_version(done.candidate_version or "").tags["weights_sha256"] == "w" * 64
    assert not list((scene.folder / "store" / "remote").glob(f"{run.run_id}/**/*.jsonl"))


def test_a_run_that_dies_without_a_word_fails_with_the_end_of_its_log(scene: Scene):
    run = scene.ask("broken")
    scene.work()
    failed = scene.load(run)
    assert failed.state == "failed"
    assert LAST_WORDS in (failed.reason or "")
    assert failed.progress["cause"] == "error"


def test_a_mistake_that_nobody_foresaw_is_told_after_two_starts_at_most(scene: Scene):
    run = scene.ask("mistaken")
    scene.work()
    failed = scene.load(run)
    assert (failed.state, failed.progress["cause"]) == ("failed", "error")
    assert MISTAKE in (failed.reason or "")
    assert failed.remote is not None
    assert failed.remote["number"] <= min(2, scene.rig.nodes)


def test_a_run_that_says_why_it_failed_is_believed(scene: Scene):
    run = scene.ask("full")
    scene.work()
    failed = scene.load(run)
    assert (failed.state, failed.reason, failed.progress["cause"]) == ("failed", "no room for the weights", "disk")


def test_an_evicted_run_goes_on_from_its_checkpoint_on_another_start(scene: Scene):
    run = scene.ask("again")
    with scene.working(scene.offer()):
        under_way = scene.wait(run, is_under_way, "two steps")
        scene.rig.evict(find_handle(under_way))
    done = scene.load(run)
    assert (done.state, done.remote and done.remote["evictions"]) == ("succeeded", 1)
    notes = " | ".join(done.progress["notes"])
    assert "evicted from engine" in notes
    assert re.findall("began behind step ([0-9])", notes)[-1] in ("1", "2")  # 2, if every machine had stored its part


def test_a_run_that_is_evicted_too_often_fails(scene: Scene):
    run = scene.ask("slow")
    with scene.working(scene.offer(max_evictions=0)):
        under_way = scene.wait(run, is_under_way, "two steps")
        scene.rig.evict(find_handle(under_way))
    failed = scene.load(run)
    assert (failed.state, failed.progress["cause"]) == ("failed", "launcher")
    assert "evicted 1 times" in (failed.reason or "")
    scene.wait(run, lambda found: not scene.is_training(found), "no process")


def test_a_cancelled_run_ends_there_within_seconds(scene: Scene):
    run = scene.ask("slow")
    with scene.working(scene.offer()) as worker:
        under_way = scene.wait(run, is_under_way, "two steps")
        cancel(scene, run.run_id)
        worker.join(20.0)
        assert not worker.is_alive()
        scene.wait(run, lambda found: is_over(scene, under_way) and not scene.is_training(found), "over")
    cancelled = scene.load(run)
    assert (cancelled.state, cancelled.remote and cancelled.remote["open"]) == ("cancelled", False)


def test_a_restarted_worker_finds_its_run_again(scene: Scene):
    run = scene.ask("again")
    first = scene.offer()
    with scene.working(first):
        under_way = scene.wait(run, is_under_way, "two steps")
        first.stop.set()
    left = scene.load(run)
    assert (left.state, find_handle(left)) == ("queued", find_handle(under_way))
    assert not is_over(scene, left)
    with scene.working(scene.offer()):
        scene.wait(run, lambda found: "found again" in " ".join(found.progress.get("notes", ())), "found again")
        scene.rig.evict(find_handle(left))
    done = scene.load(run)
    assert (done.state, done.remote and done.remote["number"]) == ("succeeded", 2)


def test_a_worker_that_dies_leaves_its_run_to_the_next(scene: Scene):
    """The first worker only seems to: it is alive, and may neither save nor end anything any more."""
    run = scene.ask("again")
    first = scene.offer()
    with scene.working(first) as worker:
        under_way = scene.wait(run, is_under_way, "two steps")
        take_away(scene, run.run_id)
        with scene.working(scene.offer()):
            scene.wait(run, lambda found: found.fencing_token == under_way.fencing_token + 2, "taken over")
            worker.join(20.0)
            assert not worker.is_alive()
            assert not is_over(scene, under_way)
            scene.rig.evict(find_handle(under_way))
    assert scene.load(run).state == "succeeded"


def test_a_run_cancelled_while_no_worker_lives_is_ended_by_the_next(scene: Scene):
    run = scene.ask("slow")
    first = scene.offer()
    with scene.working(first):
        under_way = scene.wait(run, is_under_way, "two steps")
        first.stop.set()
    cancel(scene, run.run_id)
    assert not is_over(scene, under_way)
    end_left_running(scene.offer())
    scene.wait(run, lambda found: is_over(scene, under_way) and not scene.is_training(found), "over")


def test_a_run_cancelled_before_its_start_was_answered_is_ended_by_its_name(scene: Scene):
    run = scene.ask("slow")
    first = scene.offer()
    with scene.working(first):
        under_way = scene.wait(run, is_under_way, "two steps")
        first.stop.set()
    with scene.sessions() as session, session.begin():
        held = session.get_one(Run, run.run_id)
        held.remote = (held.remote or {}) | {"handle": None}
    cancel(scene, run.run_id)
    end_left_running(scene.offer())
    scene.wait(run, lambda found: is_over(scene, under_way) and not scene.is_training(found), "over")


def test_wrong_credentials_fail_the_run_at_once_and_say_so(scene: Scene):
    run = scene.ask("good")
    scene.work(scene.offer(scene.rig.make_denied()))
    failed = scene.load(run)
    assert (failed.state, failed.progress["cause"]) == ("failed", "launcher")
    assert "engine: " in (failed.reason or "")


def test_a_reached_quota_holds_the_run_back_and_then_fails_it(scene: Scene):
    run = scene.ask("good")
    with scene.rig.fill():
        scene.work(scene.offer(max_quota_wait_minutes=0.001))
    failed = scene.load(run)
    assert (failed.state, failed.progress["cause"]) == ("failed", "launcher")
    assert "no room" in (failed.reason or "")
    assert any("waiting for room" in note for note in failed.progress["notes"])


def test_a_candidate_that_does_not_verify_is_refused(scene: Scene):
    run = scene.ask("forged")
    scene.work()
    failed = scene.load(run)
    assert (failed.state, failed.progress["cause"]) == ("failed", "launcher")
    assert "does not verify" in (failed.reason or "")
    assert failed.candidate_version is None


def test_a_run_beyond_its_limits_is_ended(scene: Scene):
    run = scene.ask("slow")
    scene.work(scene.offer(max_hours=3 / 3600))
    failed = scene.load(run)
    assert (failed.state, failed.progress["cause"]) == ("failed", "launcher")
    assert "hours" in (failed.reason or "")
    scene.wait(run, lambda found: is_over(scene, found) and not scene.is_training(found), "over")


def test_a_recipe_that_asks_for_more_machines_than_allowed_is_refused(scene: Scene):
    more = scene.rig.nodes + 1
    run = scene.ask("good", parallelism={"strategy": "ddp", "processes": 2 * more, "nodes": more})
    scene.work()
    assert f"asks for {more} machines" in (scene.load(run).reason or "")
