"""What the worker does about each end of a run that trains elsewhere."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from services.trainer.adapters.launching.mailbox import Mailbox
from services.trainer.domain.launching.endings import Outcome, RemoteRun
from services.trainer.domain.launching.limits import Limits
from services.trainer.domain.launching.orders import LaunchOrder
from services.trainer.domain.training import Interrupted, TrainingFailed
from shared.artifacts import locate_folder
from tests.unit.trainer.launching.remote_rig import RESULT, Engine, Remote, end_as, train_well

LOST = Outcome("lost", "ImportError: no module named flash_attn")
MEMORY = Outcome("memory", "out of memory", "memory")


def test_a_mistake_on_several_machines_is_started_twice_and_then_told(tmp_path: Path):
    remote = Remote(tmp_path, [end_as(RemoteRun("lost"), LOST)], nodes=2)
    with pytest.raises(TrainingFailed, match="flash_attn") as caught:
        remote.train()
    assert len(remote.engine.orders) == 2
    assert caught.value.cause == "error"


def test_machines_that_lose_each_other_after_a_checkpoint_go_on(tmp_path: Path):
    lost = end_as(RemoteRun("lost"), LOST, checkpoint=True)
    remote = Remote(tmp_path, [lost, lost, lost, train_well], nodes=2)
    assert remote.train() == RESULT
    assert len(remote.engine.orders) == 4


def test_memory_that_ran_out_on_one_machine_starts_all_with_fewer_rows(tmp_path: Path):
    short = end_as(RemoteRun("lost"), Outcome("lost", "connection reset"), MEMORY)
    remote = Remote(tmp_path, [short, short, train_well], nodes=2, batch_size=4)
    assert remote.train() == RESULT
    recipes = [json.loads(locate_folder(order.arguments[1]).read_text()) for order in remote.engine.orders]
    assert [(one["batch_size"], one["gradient_accumulation_steps"]) for one in recipes] == [(4, 1), (2, 2), (1, 4)]


def test_memory_that_runs_out_with_a_single_row_fails(tmp_path: Path):
    remote = Remote(tmp_path, [end_as(RemoteRun("lost"), MEMORY)], nodes=2, batch_size=2)
    with pytest.raises(TrainingFailed, match="out of memory") as caught:
        remote.train()
    assert (caught.value.cause, len(remote.engine.orders)) == ("memory", 2)


def test_evictions_without_a_checkpoint_end_at_the_limit(tmp_path: Path):
    remote = Remote(tmp_path, [end_as(RemoteRun("evicted", "spot"))], Limits(max_evictions=2))
    with pytest.raises(TrainingFailed, match="evicted 3 times, the last time: spot"):
        remote.train()


def test_whoever_stops_it_at_the_engine_ends_the_run(tmp_path: Path):
    remote = Remote(tmp_path, [end_as(RemoteRun("cancelled"), Outcome("interrupted", "told to end"))])
    with pytest.raises(TrainingFailed, match="stopped at its engine") as caught:
        remote.train()
    assert (caught.value.cause, len(remote.engine.orders)) == ("launcher", 1)


def test_a_start_gets_the_time_that_the_starts_before_have_left(tmp_path: Path):
    hours = end_as(RemoteRun("evicted"), checkpoint=True, passed=11 * 3600.0)
    remote = Remote(tmp_path, [hours, train_well], Limits(max_hours=12))
    remote.train()
    assert [order.max_seconds for order in remote.engine.orders] == [12 * 3600, 3600]
    assert remote.engine.orders[1].arguments[-2:] == ("--max-seconds", "3600")


def test_waiting_for_room_before_the_first_start_costs_nothing(tmp_path: Path):
    six_hours = end_as(RemoteRun("evicted"), checkpoint=True, passed=6 * 3600.0)
    remote = Remote(tmp_path, [six_hours, train_well], Limits(max_hours=12))
    remote.engine.full_for = [1800.0, 1800.0]
    remote.train()
    assert [order.max_seconds for order in remote.engine.orders] == [12 * 3600, 6 * 3600]


def wait_for_room(remote: Remote) -> None:
    """Be refused once; the worker is replaced while it waits, and the next one comes a while later."""
    remote.engine.full_for = [60.0]
    remote.reporter.stopping = True
    with pytest.raises(Interrupted):
        remote.train()
    remote.reporter.stopping = False


def test_waiting_for_room_costs_nothing_whoever_waited(tmp_path: Path):
    remote = Remote(tmp_path, [train_well], Limits(max_hours=12, max_quota_wait_minutes=6000))
    wait_for_room(remote)
    remote.claim.now += timedelta(hours=13)
    assert remote.train() == RESULT
    assert [order.max_seconds for order in remote.engine.orders] == [12 * 3600]


def test_a_worker_that_is_replaced_does_not_begin_the_wait_for_room_anew(tmp_path: Path):
    remote = Remote(tmp_path, [train_well], Limits(max_quota_wait_minutes=30))
    wait_for_room(remote)
    remote.claim.now += timedelta(minutes=29)
    remote.engine.full_for = [120.0]
    with pytest.raises(TrainingFailed, match="no room at spot: no room"):
        remote.train()


def test_each_start_waits_for_room_by_itself(tmp_path: Path):
    def lose_its_machine_to_others(engine: Engine, order: LaunchOrder, mailbox: Mailbox) -> RemoteRun:
        engine.full_for = [60.0]
        return end_as(RemoteRun("evicted"), checkpoint=True, passed=3600.0)(engine, order, mailbox)

    remote = Remote(tmp_path, [lose_its_machine_to_others, train_well], Limits(max_quota_wait_minutes=30))
    wait_for_room(remote)
    assert remote.train() == RESULT
    assert len(remote.engine.orders) == 2


def test_a_run_whose_time_is_up_is_not_started_again(tmp_path: Path):
    remote = Remote(tmp_path, [end_as(RemoteRun("evicted"), passed=13 * 3600.0)], Limits(max_hours=12))
    with pytest.raises(TrainingFailed, match="12 hours"):
        remote.train()
    assert len(remote.engine.orders) == 1


def test_what_trained_before_its_time_was_up_is_brought_home(tmp_path: Path):
    def train_slowly(engine: Engine, order: LaunchOrder, mailbox: Mailbox) -> RemoteRun:
        end_as(RemoteRun("running"), passed=13 * 3600.0)(engine, order, mailbox)
        return train_well(engine, order, mailbox)

    remote = Remote(tmp_path, [train_slowly], Limits(max_hours=12))
    assert remote.train() == RESULT
    assert (tmp_path / "candidate" / "model.safetensors").exists()


def test_what_trained_while_no_worker_looked_is_brought_home_though_its_time_is_up(tmp_path: Path):
    remote = Remote(tmp_path, [end_as(RemoteRun("running"))], Limits(max_hours=12))
    remote.reporter.stopping = True
    with pytest.raises(Interrupted):
        remote.train()
    [order] = remote.engine.orders
    remote.engine.states[order.name] = train_well(remote.engine, order, remote.engine.open_mailbox(order, 1))
    remote.claim.now += timedelta(hours=13)
    remote.reporter.stopping = False
    assert remote.train() == RESULT


def test_the_wait_for_room_begins_with_the_first_refusal_however_long_that_took(tmp_path: Path):
    remote = Remote(tmp_path, [train_well], Limits(max_quota_wait_minutes=1e-9))
    remote.engine.full_for = [1.0]
    assert remote.train() == RESULT
    assert "waiting for room at spot: no room" in remote.reporter.notes


def test_a_job_that_its_engine_has_no_machines_for_fails_with_the_engines_words(tmp_path: Path):
    full = RemoteRun("pending", "Unschedulable: 3 Insufficient nvidia.com/gpu")
    remote = Remote(tmp_path, [end_as(full)], Limits(max_quota_wait_minutes=0.001))
    with pytest.raises(TrainingFailed, match=r"no room at spot.*Insufficient nvidia") as caught:
        remote.train()
    assert caught.value.cause == "launcher"
    assert [note for note in remote.reporter.notes if "Insufficient" in note] == [
        "waiting for machines at spot: Unschedulable: 3 Insufficient nvidia.com/gpu"
    ]
