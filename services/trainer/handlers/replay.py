"""The dataset that a run reads: as it was frozen, or mixed as its recipe's replay says."""

from pathlib import Path

import structlog
from sqlalchemy.orm import Session

from services.trainer import repository
from services.trainer.adapters.artifacts.replay import MixedDataset, load_earlier, mix_dataset
from services.trainer.domain.recipe.schema import Recipe
from services.trainer.domain.replay import EarlierSnapshot
from shared.tables.curator import Dataset

logger = structlog.get_logger(__name__)


def load_snapshots(session: Session, dataset_sha256: str) -> list[EarlierSnapshot]:
    """Load what the datasets before this one held, newest first; an erased one is its successor."""
    chain = repository.load_ancestry(session, dataset_sha256)
    return [_describe(dataset, repository.load_standing(session, dataset)) for dataset in chain]


def _describe(dataset: Dataset, standing: Dataset | None) -> EarlierSnapshot:
    name = dataset.dataset_sha256[:12]
    if standing is None:
        return EarlierSnapshot(name, frozenset(), "erased, and nothing was left of it")
    manifest = standing.manifest
    return EarlierSnapshot(name, frozenset([*manifest.get("pair_ids", ()), *manifest.get("label_ids", ())]))


def mix_for_run(recipe: Recipe, dataset: Path, earlier: list[EarlierSnapshot], attempt: Path) -> MixedDataset:
    """Mix the dataset. A row is old when an earlier snapshot held it, and replayed if the newest holds it still.

    Raises: TrainingFailed.
    """
    mixed = mix_dataset(dataset, earlier, recipe.replay, seed=recipe.seed, target=attempt / "dataset")
    logger.info("dataset_mixed", **mixed.summary)
    return mixed


def mix_folders(recipe: Recipe, dataset: Path, attempt: Path) -> MixedDataset:
    """Mix folders: those that the recipe lists are the earlier snapshots, and their own rows are replayed too.

    Raises: TrainingFailed.
    """
    folders = [Path(folder) for folder in recipe.replay.folders or ()]
    earlier = [load_earlier(folder) for folder in folders]
    target = attempt / "dataset"
    return mix_dataset(dataset, earlier, recipe.replay, seed=recipe.seed, target=target, folders=folders)
