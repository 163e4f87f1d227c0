"""Settings of the drift monitor, `HELIOTROPE_MONITOR_*`, beside the curator's own."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class MonitorSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_MONITOR_", extra="ignore", frozen=True)

    shadow: bool = Field(False, description="decide, log and count, but ask for nothing")
    cooldown_seconds: float = Field(3_600, ge=0, description="pause between one request's end and the next request")
    monthly_budget: int = Field(30, ge=0, description="requests within any 30 days, at most")
    minimum_pairs: int = Field(20, ge=1, description="pairs that a dataset needs to be worth training on")
    schedule_seconds: float | None = Field(None, gt=0, description="ask at least this often; unset: never by the clock")
    opinion_run_length: int = Field(2_000, ge=10, description="votes between two false alarms, on average and at least")
    opinion_warm_up_votes: int = Field(300, ge=20, description="votes from which a new champion's rate is measured")
    opinion_period_seconds: float = Field(86_400, gt=0, description="a user's first vote in each such period counts")
    opinion_margin: float = Field(0.0, ge=0, lt=1, description="a fall of the positive rate not worth retraining for")
    window_seconds: float = Field(3_600, gt=0, description="feedback and answers this recent show the loop's health")
