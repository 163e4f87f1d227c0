"""The processes of a machine share a base's weights instead of holding a copy each."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from services.trainer.adapters.distributed.shared_weights import FOLDER, share_weights  # noqa: E402
from services.trainer.adapters.methods.models import load_policy  # noqa: E402
from tests.unit.trainer.distributed.played_device import find_files  # noqa: E402
from tests.unit.trainer.tiny_model import save_tiny_model  # noqa: E402


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "base")


def save_as(base: Path, dtype: Any, folder: Path) -> Path:
    load_policy(base, dtype).save_pretrained(folder)
    return folder


def test_weights_that_are_there_in_the_runs_format_are_mapped_from_their_file(base: Path, tmp_path: Path):
    with share_weights(base, torch.float32, tmp_path / "run") as folder:
        assert folder == base
        assert find_files(load_policy(base, torch.float32, folder).parameters()) == {str(base / "model.safetensors")}
    assert not (tmp_path / "run").exists()


def test_weights_of_another_format_are_converted_once_for_all_processes(base: Path, tmp_path: Path):
    half = save_as(base, torch.bfloat16, tmp_path / "half")
    own = load_policy(half, torch.float32)
    assert "" in find_files(own.parameters()), "each process would hold a copy of its own"
    with share_weights(half, torch.float32, tmp_path / "run") as folder:
        shared = load_policy(half, torch.float32, folder)
        assert find_files(shared.parameters()) == {str(tmp_path / "run" / FOLDER / "model.safetensors")}
    assert not (tmp_path / "run" / FOLDER).exists()
    assert (shared.name_or_path, shared.config._name_or_path) == (str(half), str(half))
    for name, weight in own.state_dict().items():
        assert torch.equal(shared.state_dict()[name], weight), name


def test_what_a_failed_run_leaves_is_deleted_too(base: Path, tmp_path: Path):
    half = save_as(base, torch.bfloat16, tmp_path / "half")
    with pytest.raises(RuntimeError), share_weights(half, torch.float32, tmp_path):
        raise RuntimeError("the run failed")
    assert not (tmp_path / FOLDER).exists()
