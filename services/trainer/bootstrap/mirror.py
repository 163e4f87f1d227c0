"""Where else a run is shown, by the settings."""

from pathlib import Path

from services.trainer.adapters.wandb_mirror import WandbMirror, check_wandb
from services.trainer.domain.mirror import Mirror, NoMirror
from services.trainer.settings import TrainerSettings


def make_mirror(settings: TrainerSettings, folder: Path) -> Mirror:
    """Raises: InvalidRequest for one that is not installed."""
    if settings.wandb == "off":
        return NoMirror()
    check_wandb()
    return WandbMirror(settings.wandb_project, settings.wandb, folder)
