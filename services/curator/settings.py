"""The curator's own settings."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class CuratorSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_CURATOR_", extra="ignore", frozen=True)

    recipe: str | None = Field(None, description="recipe that requests name; the trainer's default when unset")
    volume_pairs: int = Field(200, ge=1, description="fresh pairs and labels at which the monitor asks for retraining")
    monitor_seconds: float = Field(5.0, gt=0, description="pause between two looks of the monitor")
    request_deadline_seconds: float = Field(86_400.0, gt=0, description="a request without a rollout by then is closed")
    announce_again_seconds: float = Field(30.0, gt=0, description="a request that nobody took up is announced again")
    sweep_seconds: float = Field(5.0, gt=0, description="pause between two looks at requests and parked feedback")
    parked_ttl_days: float = Field(30.0, gt=0, description="feedback parked for longer, in event time, is expired")
    pairs_per_user: int = Field(200, ge=1, description="pairs, and labels, that one user may put into a dataset")
    pairs_per_prompt: int = Field(20, ge=1, description="pairs, and labels, of one prompt in a dataset")
    raw_retention_days: float = Field(
        7.0,
        gt=0,
        description="how long Kafka, dead letters and spools keep raw events; certificates say it",
    )
