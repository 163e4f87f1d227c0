"""Which checkpoint a new attempt starts from."""

from pathlib import Path

from services.trainer.adapters.artifacts.checkpoints import find_newest, mark_complete, sync_folder


def save(run: Path, token: int, step: int, *, complete: bool = True) -> Path:
    checkpoint = run / str(token) / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "optimizer.pt").write_bytes(b"state")
    sync_folder(checkpoint)
    if complete:
        mark_complete(checkpoint)
    return checkpoint


def test_a_first_attempt_has_none(tmp_path: Path):
    assert find_newest(tmp_path / "run", below_token=1) is None


def test_the_one_with_the_most_steps_of_any_earlier_attempt_is_found(tmp_path: Path):
    save(tmp_path, 1, 9)
    newest = save(tmp_path, 1, 10)
    save(tmp_path, 2, 5)
    assert find_newest(tmp_path, below_token=3) == newest


def test_a_half_written_one_does_not_count(tmp_path: Path):
    complete = save(tmp_path, 1, 10)
    save(tmp_path, 1, 20, complete=False)
    assert find_newest(tmp_path, below_token=2) == complete


def test_a_newer_attempts_checkpoints_are_not_an_older_ones_business(tmp_path: Path):
    save(tmp_path, 3, 30)
    assert find_newest(tmp_path, below_token=3) is None
