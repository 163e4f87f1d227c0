"""The arguments that TRL's trainers get."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from trl import SFTConfig  # noqa: E402

from services.trainer.adapters.methods.arguments import build_config  # noqa: E402
from services.trainer.domain.recipe.parsing import parse_recipe  # noqa: E402

RECIPE = parse_recipe({"name": "one", "method": "sft", "max_steps": 4, "batch_size": 3})


class FourGpus(SFTConfig):  # type: ignore[misc]  # trl is untyped
    """What transformers finds on a machine with four GPUs; more than one is spread over by nn.DataParallel."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._n_gpu = 4


def test_a_single_process_trains_on_one_device_however_many_there_are(tmp_path: Path):
    config = build_config(FourGpus, RECIPE, tmp_path)
    assert (config.n_gpu, config.train_batch_size) == (1, 3)


def test_a_methods_own_arguments_go_before_the_shared_ones(tmp_path: Path):
    assert build_config(SFTConfig, RECIPE, tmp_path, save_strategy="no").save_strategy == "no"
