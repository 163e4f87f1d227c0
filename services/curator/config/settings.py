"""Settings of the curator, `HELIOTROPE_CURATOR_*`, and of its drift monitor, `HELIOTROPE_MONITOR_*`."""

from typing import Self

from pydantic import DirectoryPath, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

RECIPE = "[A-Za-z0-9_-]+"


class CuratorSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_CURATOR_", extra="ignore", frozen=True)

    recipe: str | None = Field(
        None,
        pattern=f"^{RECIPE}(,{RECIPE}){{0,7}}$",
        description="recipe that requests name, or several (8 at most), separated by commas: each is trained, and at "
        "most one candidate goes on; the trainer's default when unset",
    )
    volume_pairs: int = Field(200, ge=1, description="fresh pairs and labels at which the monitor asks for retraining")
    monitor_seconds: float = Field(5.0, gt=0, description="pause between two looks of the monitor")
    request_deadline_seconds: float = Field(86_400.0, gt=0, description="a request without a rollout by then is closed")
    announce_again_seconds: float = Field(30.0, gt=0, description="a request that nobody took up is announced again")
    sweep_seconds: float = Field(5.0, gt=0, description="pause between two looks at requests and parked feedback")
    parked_ttl_days: float = Field(30.0, gt=0, description="feedback parked for longer, in event time, is expired")
    pairs_per_user: int = Field(200, ge=1, description="pairs, and labels, that one user may put into a dataset")
    pairs_per_prompt: int = Field(20, ge=1, description="pairs, and labels, of one prompt in a dataset")
    group_weight_share: float = Field(
        0.05, ge=0, le=1, description="share of the weight for each group whom nobody else can vouch for; 1: no limit"
    )
    embedder_folder: DirectoryPath | None = Field(
        None, description="a sentence-transformers model to embed prompts with (needs torch); unset: one without torch"
    )
    embedder_url: str | None = Field(
        None, description="base URL of an OpenAI-compatible embeddings endpoint, in place of a model in the process"
    )
    embedder_model: str = Field("", description="the model to name to the embeddings endpoint")
    embedder_api_key: SecretStr | None = Field(None, description="the embeddings endpoint's key")
    raw_retention_days: float = Field(
        7.0,
        gt=0,
        description="how long Kafka, dead letters and spools keep raw events; certificates say it",
    )

    @field_validator("recipe")
    @classmethod
    def _name_each_recipe_once(cls, recipe: str | None) -> str | None:
        names = recipe.split(",") if recipe else []
        if len(set(names)) < len(names):
            raise ValueError("names a recipe twice")
        return recipe

    def list_recipes(self) -> list[str]:
        """List the recipes that requests name; none: the trainer's default."""
        return self.recipe.split(",") if self.recipe else []

    @model_validator(mode="after")
    def _name_the_endpoints_model(self) -> Self:
        if self.embedder_url and not self.embedder_model:
            raise ValueError("embedder_model is needed with embedder_url: cells are named for it")
        return self


class MonitorSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_MONITOR_", extra="ignore", frozen=True)

    shadow: bool = Field(False, description="decide, log and count, but ask for nothing")
    cooldown_seconds: float = Field(3_600, ge=0, description="pause between one request's end and the next request")
    monthly_budget: int = Field(
        30, ge=0, description="trainings asked for within any 30 days, at most: one for each recipe of a request"
    )
    minimum_pairs: int = Field(20, ge=1, description="pairs that a dataset needs to be worth training on")
    schedule_seconds: float | None = Field(None, gt=0, description="ask at least this often; unset: never by the clock")
    false_alarm_days: float = Field(
        180, gt=0, description="days between two needless requests for drift, on average and at least, of all detectors"
    )
    opinion_period_seconds: float = Field(86_400, gt=0, description="a user's first vote in each such period counts")
    opinion_settling_periods: int = Field(7, ge=0, description="periods in which the novelty of a champion wears off")
    opinion_warm_up_votes: int = Field(300, ge=20, description="votes from which a new champion's rate is learnt")
    opinion_warm_up_periods: int = Field(7, ge=1, description="whole periods from which it is learnt, at least")
    opinion_least_users: float = Field(100, ge=1, description="users, of equal weight, who must have voted by then")
    opinion_margin: float = Field(0.0, ge=0, lt=1, description="a fall of the positive rate not worth retraining for")
    prompt_window_seconds: float = Field(86_400, gt=0, description="prompts of such a window are compared with earlier")
    prompt_cycle_windows: int = Field(7, ge=1, description="first windows of a reign, the reference: a week of days")
    prompt_sample: int = Field(500, ge=50, le=2_000, description="prompts of a window that are looked at, one a user")
    prompt_least_effect: float = Field(
        0.03, ge=0, description="a move of the mean prompt, as a share of their spread, not worth retraining for"
    )
    window_seconds: float = Field(3_600, gt=0, description="feedback and answers this recent show the loop's health")
