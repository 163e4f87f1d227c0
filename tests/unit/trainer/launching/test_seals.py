"""Who may write to the store, and does not know the run's key, gets no weights past a worker, and none into a start."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from services.trainer.adapters.launching.mailbox import Mailbox
from services.trainer.adapters.launching.run_store import RunStore, Seals, open_seals
from services.trainer.adapters.launching.stored_checkpoints import StoredCheckpoints
from services.trainer.domain.launching.endings import Outcome, RemoteRun
from services.trainer.domain.launching.orders import RUN_KEY, LaunchOrder
from services.trainer.domain.planning.places import ALONE
from services.trainer.domain.training import Interrupted, Job, TrainingFailed, TrainingResult
from services.trainer.ports import RunReporter
from shared.artifacts import ArtifactCorrupt
from shared.signing import Signer, derive_public_key, generate_key
from tests.unit.trainer.launching.remote_rig import RESULT, Engine, Play, Remote, end_as, train_well
from tests.unit.trainer.launching.test_addressed import Machine, save_checkpoint

KEY, OTHER = generate_key(), generate_key()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def replace_by(key: str | None) -> Play:
    """Train well; then somebody with this key replaces candidate, manifest and outcome, all of one piece."""

    def play(engine: Engine, order: LaunchOrder, mailbox: Mailbox) -> RemoteRun:
        state = train_well(engine, order, mailbox)
        theirs = Mailbox(RunStore(engine.files.artifacts, engine.files.output, open_seals(key, ())), 1)
        forged = Path(engine.files.artifacts.locate("").removeprefix("file://")).parent / "forged"
        forged.mkdir()
        (forged / "model.safetensors").write_bytes(b"others' weights")
        sha256 = theirs.send_candidate(forged)
        theirs.send_outcome(Outcome("trained", result=RESULT, candidate_sha256=sha256))
        return state

    return play


def test_what_the_runs_machine_sealed_is_brought_home(tmp_path: Path):
    remote = Remote(tmp_path, [train_well], key=KEY)
    assert remote.train() == RESULT
    assert (tmp_path / "candidate" / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("key", [None, OTHER], ids=["unsealed", "another run's seal"])
def test_a_candidate_and_an_outcome_replaced_together_are_refused(tmp_path: Path, key: str | None):
    remote = Remote(tmp_path, [replace_by(key)], key=KEY)
    with pytest.raises(TrainingFailed, match=r"does not verify: attempts/1/outcome was not written by a machine"):
        remote.train()
    assert not (tmp_path / "candidate").exists()


def test_without_a_key_nothing_can_tell_them_apart(tmp_path: Path):
    """What this protects against: the same forgery goes through where models are not signed."""
    assert Remote(tmp_path, [replace_by(None)]).train() == RESULT
    assert (tmp_path / "candidate" / "model.safetensors").read_bytes() == b"others' weights"


def test_an_outcome_of_another_start_is_refused(tmp_path: Path):
    def copy_the_first(engine: Engine, order: LaunchOrder, mailbox: Mailbox) -> RemoteRun:
        engine.files.artifacts.download(engine.files.open(()).locate("attempts/1/ends/1"), tmp_path / "copy")
        engine.files.artifacts.upload(tmp_path / "copy", engine.files.open(()).locate("attempts/2/outcome"))
        return RemoteRun("succeeded")

    words = end_as(RemoteRun("evicted"), Outcome("interrupted", "told to end"), Outcome("lost", "gone"))
    remote = Remote(tmp_path, [words, copy_the_first], nodes=2, key=KEY)
    with pytest.raises(TrainingFailed, match="attempts/2/outcome was not written by a machine of this run"):
        remote.train()


def test_a_worker_with_a_new_key_goes_on_with_a_run_that_was_begun_with_the_old_one(tmp_path: Path):
    first = Remote(tmp_path, [end_as(RemoteRun("running"))], key=OTHER)
    first.reporter.stopping = True
    with pytest.raises(Exception, match="while the run trains elsewhere"):
        first.train()
    [order] = first.engine.orders
    second = Remote(tmp_path, [train_well], key=KEY)
    second.run.remote = first.run.remote
    second.engine.states[order.name] = train_well(first.engine, order, first.engine.open_mailbox(order, 1))
    assert second.train() == RESULT
    assert second.engine.orders == []


def go_on_from_the_checkpoint(engine: Engine, order: LaunchOrder, mailbox: Mailbox) -> RemoteRun:
    """Restore as a machine does, by the keys that the order says; then train well."""
    words = order.arguments
    trusted = [word for before, word in pairwise(words) if before == "--trust"]
    store = RunStore(engine.files.artifacts, engine.files.output, open_seals(order.environment.get(RUN_KEY), trusted))
    folder = Path(engine.files.artifacts.locate("").removeprefix("file://")).parent / "restored"
    StoredCheckpoints(store, folder, ALONE).restore()
    assert (folder / "1/checkpoint-3/weights").exists()
    return train_well(engine, order, mailbox)


def test_a_run_that_was_begun_without_seals_goes_on_from_its_checkpoint_once_there_is_a_key(tmp_path: Path):
    first = Remote(tmp_path, [end_as(RemoteRun("running"))])
    first.reporter.stopping = True
    with pytest.raises(Interrupted):
        first.train()
    [order] = first.engine.orders
    (tmp_path / "unsealed").mkdir()
    (tmp_path / "unsealed" / "weights").write_text("3")
    first.files.open(()).upload(tmp_path / "unsealed", "checkpoints/1/checkpoint-3/part-0-of-1")
    second = Remote(tmp_path, [go_on_from_the_checkpoint], key=KEY)
    second.run.remote = first.run.remote
    second.engine.orders.append(order)
    second.engine.states[order.name] = RemoteRun("evicted", "spot")
    assert second.train() == RESULT
    assert len(second.engine.orders) == 2


def seal_by(key: str | None) -> Seals:
    return open_seals(key, [derive_public_key(KEY)])


def save_once(job: Job, reporter: RunReporter) -> TrainingResult:
    save_checkpoint(job, reporter, 3)
    raise TrainingFailed("enough")


@pytest.mark.parametrize("key", [None, OTHER], ids=["unsealed", "another run's seal"])
def test_no_start_trains_on_a_checkpoint_that_somebody_replaced(machine: Machine, tmp_path: Path, key: str | None):
    with pytest.raises(TrainingFailed, match="enough"):
        machine.start(machine.order(seals=seal_by(KEY)), save_once)
    restored = RunStore(machine.store, machine.output, seal_by(KEY))
    StoredCheckpoints(restored, tmp_path / "good", ALONE).restore()
    assert (tmp_path / "good/1/checkpoint-3/weights").read_text() == "3"
    place = "checkpoints/1/checkpoint-3/part-0-of-1"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "weights").write_text("poison")
    RunStore(machine.store, machine.output, open_seals(key, ())).upload(tmp_path / "theirs", place)
    with pytest.raises(ArtifactCorrupt, match="was not written by a machine of this run"):
        machine.start(machine.order(number=2, seals=seal_by(KEY), folder=tmp_path / "another machine"))
    assert machine.trained == 0


def test_a_machine_that_finds_its_own_disk_goes_on_without_the_store(machine: Machine):
    with pytest.raises(TrainingFailed, match="enough"):
        machine.start(machine.order(seals=seal_by(KEY)), save_once)
    machine.start(machine.order(number=2, seals=seal_by(KEY)))
    assert machine.trained == 1


def test_a_derived_key_is_the_same_for_one_run_and_another_for_the_next():
    signer = Signer(KEY)
    keys: list[Any] = [signer.derive_key("heliotrope run 1"), signer.derive_key("heliotrope run 2"), KEY]
    assert len(set(keys)) == 3
    assert signer.derive_key("heliotrope run 1") == keys[0]
