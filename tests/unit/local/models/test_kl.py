"""Distance of one model from another, on random models of a few thousand parameters."""

import pytest

from local.models.kl import calculate_kl
from tests.unit.trainer.tiny_model import save_tiny_model

ANSWERS = [([{"role": "user", "content": f"Where is order {n}?"}], f"Order {n} is here.") for n in range(3)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [str(save_tiny_model(tmp_path_factory.mktemp("model"), seed)) for seed in (1, 2)]


def test_a_model_is_no_distance_from_itself(folders: list[str]):
    assert calculate_kl(folders[0], folders[0], ANSWERS) == pytest.approx(0.0, abs=1e-6)


def test_another_model_is_some_distance_away(folders: list[str]):
    assert calculate_kl(folders[0], folders[1], ANSWERS) > 0.001


def test_empty_answers_have_no_distance(folders: list[str]):
    assert calculate_kl(folders[0], folders[1], [(ANSWERS[0][0], "")]) == 0.0
