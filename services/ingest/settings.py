"""Settings of ingest, `HELIOTROPE_INGEST_*`, beside the shared ones."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.ingest.schemas import MAX_BATCH
from shared.settings import Settings


class SharedSettings(Settings):
    """The shared settings, of which ingest cannot do without the secrets."""

    user_hash_secret: SecretStr = Field(min_length=16, description="key of the hash that replaces user ids")
    feedback_token_secret: SecretStr = Field(min_length=16, description="signs feedback tokens for browsers")
    feedback_token_previous_secrets: Annotated[list[SecretStr], NoDecode] = Field(
        [], description="secrets that signed tokens before, comma separated; their tokens open until they expire"
    )

    @field_validator("feedback_token_previous_secrets", mode="before")
    @classmethod
    def _split_secrets(cls, value: object) -> object:
        return [secret.strip() for secret in value.split(",") if secret.strip()] if isinstance(value, str) else value


class IngestSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_INGEST_", extra="ignore", frozen=True)

    bus_client: Literal["librdkafka", "kafka-python"] = Field("librdkafka", description="client that sends to Kafka")
    ack_deadline_seconds: float = Field(8.0, gt=0, description="without the broker's acknowledgement by then: 503")
    max_in_flight_events: int = Field(5_000, ge=1, description="events that wait for the broker at once, at most")
    max_in_flight_bytes: int = Field(64 * 2**20, ge=2**20, description="their bytes together, at most")
    max_event_bytes: int = Field(900_000, ge=1_000, description="size of one event on the bus, at most")
    max_body_bytes: int = Field(8 * 2**20, ge=1_000, description="size of a request's body, at most")
    max_arriving_bytes: int = Field(
        128 * 2**20, ge=2**20, description="bodies that arrive in pieces, together, at most; beyond it: 429"
    )
    max_requests: int = Field(10_000, ge=1, description="requests handled at once; beyond it: 503")
    body_deadline_seconds: float = Field(20.0, gt=0, description="a body not there by then: 408")
    key_events_per_second: float = Field(2_000.0, ge=0, description="what one API key may send on average; 0: no limit")
    key_burst_events: int = Field(10_000, ge=MAX_BATCH, description="what one API key may send at once")
    token_events_per_second: float = Field(
        1.0, ge=0, description="what the tokens of one user may send on average, beside their key's rate; 0: no limit"
    )
    token_burst_events: int = Field(60, ge=1, description="what the tokens of one user may send at once")
    rate_limit_turn_seconds: float = Field(
        1.0, gt=0, description="how often processes tell each other through Redis what each key has sent"
    )
    future_skew_seconds: float = Field(60.0, ge=0, description="how far a client's clock may be ahead")
    oldest_feedback_days: float = Field(
        30.0, ge=0, description="feedback that happened before is refused; 0 takes any, as an import of history needs"
    )
    remembered_events: int = Field(50_000, ge=0, description="newest event ids kept in memory, to notice another body")
    conflict_lookup_seconds: float = Field(
        0.2, ge=0, description="time to look up an event id that a client chose; past it the event is taken"
    )
    cors_origins: Annotated[list[str], NoDecode] = Field([], description="origins of browsers, comma separated, or *")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return [origin.strip().rstrip("/") for origin in value.split(",") if origin.strip()]
        return value
