from hashlib import sha256
from pathlib import Path

import pytest

from shared.artifacts import WeightsNotFound, calculate_weights_sha256


def test_weights_are_hashed_over_all_parts_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"second")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"first")
    (tmp_path / "config.json").write_text("{}")
    assert calculate_weights_sha256(tmp_path) == sha256(b"firstsecond").hexdigest()


def test_a_folder_without_weights_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    with pytest.raises(WeightsNotFound):
        calculate_weights_sha256(tmp_path)
