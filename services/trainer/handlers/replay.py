"""The dataset that a run reads: as it was frozen, or mixed as its recipe's replay says."""

from pathlib import Path

import structlog

from services.trainer.adapters.artifacts.checkpoints import MIXED
from services.trainer.adapters.artifacts.replay import MixedDataset, load_earlier, mix_dataset
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.replay import EarlierSnapshot

logger = structlog.get_logger(__name__)


def mix_for_run(recipe: Recipe, dataset: Path, earlier: list[EarlierSnapshot], attempt: Path) -> MixedDataset:
    """Mix the dataset. A row is old when an earlier snapshot held it, and replayed if the newest holds it still.

    Raises: TrainingFailed.
    """
    mixed = mix_dataset(dataset, earlier, recipe.replay, seed=recipe.seed, target=attempt / MIXED)
    logger.info("dataset_mixed", **mixed.summary)
    return mixed


def mix_folders(recipe: Recipe, dataset: Path, attempt: Path) -> MixedDataset:
    """Mix folders: those that the recipe lists are the earlier snapshots, and their own rows are replayed too.

    Raises: TrainingFailed.
    """
    folders = [Path(folder) for folder in recipe.replay.folders or ()]
    earlier = [load_earlier(folder) for folder in folders]
    target = attempt / MIXED
    return mix_dataset(dataset, earlier, recipe.replay, seed=recipe.seed, target=target, folders=folders)
