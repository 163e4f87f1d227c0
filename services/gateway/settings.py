"""Settings of the gateway, `HELIOTROPE_GATEWAY_*`, beside the shared ones."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.settings import Settings


class SharedSettings(Settings):
    """The shared settings, of which the gateway cannot do without the secrets."""

    user_hash_secret: SecretStr = Field(min_length=16, description="key of the hash that replaces user ids")
    feedback_token_secret: SecretStr = Field(min_length=16, description="signs feedback tokens for browsers")


class GatewaySettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_GATEWAY_", extra="ignore", frozen=True)

    deployer_url: str = Field("", description="where routing is asked for; default: the deployer's port of this stack")
    internal_key: SecretStr = Field(
        SecretStr(""), description="API key for that, of role internal; without one the bus alone is listened to"
    )
    routing_poll_seconds: float = Field(10.0, gt=0, description="how often routing is asked for, beside the bus")
    allowed_base_urls: Annotated[list[str], NoDecode] = Field(
        [], description="model servers that a routing table may name, comma separated; empty: any"
    )
    routing_public_keys: Annotated[list[str], NoDecode] = Field(
        [], description="whose routing tables are taken: Ed25519 public keys, comma separated; empty: anybody's"
    )
    routing_max_age_seconds: float = Field(
        3_600.0, gt=0, description="a routing table not confirmed for so long serves its champion only"
    )
    state_dir: Path | None = Field(None, description="spool and last routing table; default: gateway/ in home")
    spool_max_rows: int = Field(100_000, ge=1, description="interactions that wait for the bus, at most")
    spool_max_bytes: int = Field(2**30, ge=2**20, description="their bytes together, at most")
    refused_retention_days: float = Field(
        7.0,
        gt=0,
        description="what the broker refused is deleted then; no longer than HELIOTROPE_CURATOR_RAW_RETENTION_DAYS,"
        " which certificates of erasure say",
    )
    handover_seconds: float = Field(
        5.0, ge=0, description="time to give the bus what waits before the process ends; the rest stays on the disk"
    )
    spool_deadline_seconds: float = Field(5.0, gt=0, description="an answer waits for the spool this long, at most")
    max_event_bytes: int = Field(900_000, ge=1_000, description="size of one interaction on the bus, at most")
    max_body_bytes: int = Field(8 * 2**20, ge=1_000, description="size of a request's body, at most")
    max_arriving_bytes: int = Field(
        128 * 2**20, ge=2**20, description="bodies that arrive in pieces, together, at most; beyond it: 429"
    )
    body_deadline_seconds: float = Field(20.0, gt=0, description="a body not there by then: 408")
    max_requests: int = Field(2_000, ge=1, description="requests handled at once, streams included; beyond it: 503")
    model_server_key: SecretStr = Field(SecretStr(""), description="API key that model servers ask for")
    connect_timeout_seconds: float = Field(2.0, gt=0, description="time to reach a model server")
    answer_timeout_seconds: float = Field(180.0, gt=0, description="time to a whole answer that is not streamed")
    idle_timeout_seconds: float = Field(60.0, gt=0, description="time to the first, and to each further, chunk")
    stream_timeout_seconds: float = Field(600.0, gt=0, description="time to the end of a stream")
    max_connections: int = Field(1_000, ge=1, description="connections to model servers, at most")
    context_tokens: int = Field(
        0, ge=0, description="the models' context length; prompts that cannot fit are refused; 0: not known"
    )
    key_requests_per_second: float = Field(0.0, ge=0, description="requests of one API key on average; 0: no limit")
    key_burst_requests: int = Field(1_000, ge=1, description="requests of one API key at once")
    user_requests_per_second: float = Field(5.0, ge=0, description="requests of one user on average; 0: no limit")
    user_burst_requests: int = Field(60, ge=1, description="requests of one user at once")
    key_tokens_per_day: int = Field(0, ge=0, description="tokens of one API key in a day; 0: no limit")
    breaker_users: int = Field(2, ge=1, description="users whose failures it takes to leave a model alone")
    breaker_failures: int = Field(5, ge=1, description="failures in a row after which a model is left alone")
    breaker_open_seconds: float = Field(5.0, gt=0, description="time until one request tries such a model again")
    shadow_waiting: int = Field(
        50, ge=1, description="answers that wait to be asked of a candidate in its shadow; more are left out"
    )
    shadow_requests: int = Field(2, ge=1, description="requests to a candidate in its shadow at once")
    shadow_judge_url: str = Field(
        "", description="OpenAI-compatible server that compares what champion and candidate said; empty: nobody does"
    )
    shadow_judge_model: str = Field("", description="its model; no relative of what it judges")
    shadow_judge_key: SecretStr = Field(SecretStr(""), description="API key that the judge asks for")
    feedback_token_days: float = Field(7.0, gt=0, description="how long a browser may speak of an answer")
    cors_origins: Annotated[list[str], NoDecode] = Field([], description="origins of browsers, comma separated, or *")

    @model_validator(mode="after")
    def _check_judge(self) -> Self:
        if bool(self.shadow_judge_url) != bool(self.shadow_judge_model):
            raise ValueError("shadow_judge_url and shadow_judge_model go together: give both, or none")
        return self

    @field_validator("cors_origins", "allowed_base_urls", "routing_public_keys", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            return [origin.strip().rstrip("/") for origin in value.split(",") if origin.strip()]
        return value
