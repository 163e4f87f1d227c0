from hashlib import sha256
from pathlib import Path

import pytest

from shared.artifacts import WeightsNotFound, calculate_weights_sha256, locate_folder


def test_weights_are_hashed_over_all_parts_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"second")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"first")
    (tmp_path / "config.json").write_text("{}")
    assert calculate_weights_sha256(tmp_path) == sha256(b"firstsecond").hexdigest()


def test_a_folder_without_weights_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    with pytest.raises(WeightsNotFound):
        calculate_weights_sha256(tmp_path)


def test_a_folder_is_named_by_its_path_or_by_a_file_uri() -> None:
    assert locate_folder("/srv/data sets/d") == Path("/srv/data sets/d")
    assert locate_folder("file:///srv/data%20sets/d") == Path("/srv/data sets/d")
