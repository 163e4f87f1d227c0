"""The trainer's own settings."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

RECIPES = Path(__file__).parents[2] / "recipes"


FUNCTION = r"[A-Za-z0-9][A-Za-z0-9._-]*:[A-Za-z0-9_][A-Za-z0-9._-]*"


class TrainerSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_TRAINER_", extra="ignore", frozen=True)

    recipe: str = Field("default", description="recipe of a request that names none")
    recipes_dir: Path = Field(RECIPES, description="folder with the recipes, one <name>.yaml each")
    sweep_seconds: float = Field(0.5, gt=0, description="pause between two looks at the runs")
    requeue_after_seconds: float = Field(60.0, gt=0, description="a queued run that nobody picked up is queued again")
    announce_again_seconds: float = Field(30.0, gt=0, description="a result that nobody took up is announced again")
    heartbeat_seconds: float = Field(2.0, gt=0, description="pause between two signs of life of a running run")
    heartbeat_timeout_seconds: float = Field(30.0, gt=0, description="a run silent for this long lost its worker")
    registry_patience_seconds: float = Field(
        60.0, gt=0, description="a run whose registry does not answer for this long goes back to the queue"
    )
    devices: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9-]{0,39}(,[a-z0-9][a-z0-9-]{0,39})*)?$",
        description="kinds of device that this worker has, separated by commas: it takes runs that ask for one, "
        "and runs that ask for none",
    )
    launchers_file: Path | None = Field(
        None, description="YAML file of the launchers that recipes may name; unset: runs train in the worker"
    )
    launcher: str = Field(
        "", description="the launcher of recipes that name none; empty: such runs train in the worker's own process"
    )
    launcher_poll_seconds: float = Field(
        5.0, gt=0, description="pause between two looks at a run that trains elsewhere"
    )
    wandb: Literal["off", "online", "offline"] = Field(
        "off", description="show runs in Weights & Biases too; offline: write files for `wandb sync`"
    )
    wandb_project: str = Field("heliotrope", min_length=1, description="the W&B project")
    manifest_key: SecretStr = Field(
        SecretStr(""), description="Ed25519 key that signs candidates (`heliotrope keys draw`); empty: unsigned"
    )
    reward_functions: str = Field(
        "",
        pattern=f"^({FUNCTION}(,{FUNCTION})*)?$",
        description="reward functions that recipes may name, `package:entry point` each, separated by commas: their "
        "code runs on the worker, without its secrets",
    )
    reward_timeout_seconds: float = Field(
        60.0, gt=0, description="what a reward function may take to start, and for each batch of answers"
    )
    reward_readable_folders: str = Field(
        "", description="folders that reward functions may read besides installed packages, separated by commas"
    )
    reward_writable_folders: str = Field(
        "",
        description="folders that reward functions may write besides their own, separated by commas; /dev/shm for "
        "locks and queues of multiprocessing, which opens what else this user keeps there",
    )
    threads: int = Field(0, ge=0, description="threads for tensor arithmetic; 0: OMP_NUM_THREADS, else every core")
