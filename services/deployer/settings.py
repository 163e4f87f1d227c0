"""Settings of the deployer, `HELIOTROPE_DEPLOYER_*`, beside the shared ones."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.freeze_windows import parse_windows

SLACK = "slack+"


@dataclass(frozen=True)
class Webhook:
    """Where notices go; `target` names it without its address, which is a secret."""

    target: str
    url: str
    is_slack: bool


class DeployerSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_DEPLOYER_", extra="ignore", frozen=True)

    stages: list[float] = Field(default=[5, 25, 50, 100], description="canary percent of each stage, growing to 100")
    minimum_stage_seconds: float = Field(default=3_600, ge=0, description="shortest time in a stage")
    minimum_stage_votes: int = Field(
        default=5, ge=0, description="users of each arm with traffic who must have said something in each stage"
    )
    stage_deadline_seconds: float = Field(
        default=14 * 86_400, gt=0, description="a stage that has not decided by then ends its rollout"
    )
    exposure_seconds: float = Field(
        default=600, ge=0, description="what a user does within this time of their first answer in a stage counts there"
    )
    outcome_grace_seconds: float = Field(
        default=30, ge=0, description="how long events of an exposure may still be under way after its end"
    )
    silence_value: float = Field(
        default=0.75, ge=0, le=1, description="outcome of a user who said nothing; best near the usual positive rate"
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="chance of rolling back a canary that is not worse, over the whole rollout",
    )
    alpha_advance: float = Field(
        default=0.05, gt=0, lt=1, description="chance of letting one that is worse by delta or more to all users"
    )
    delta: float = Field(default=0.05, gt=0, lt=0.5, description="drop of the positive rate that counts as worse")
    holdback_percent: float = Field(default=5, ge=0, le=50, description="users kept on the previous champion")
    shadow_percent: float = Field(
        default=0,
        ge=0,
        le=100,
        description="champion's answers that a candidate is asked for, too, before any user is; 0: no shadow stage",
    )
    shadow_prompts: int = Field(
        default=200, ge=1, le=5_000, description="answers that a shadow stage compares before users are served"
    )
    shadow_length_factor: float = Field(
        default=2.0, gt=1, description="answers that are mostly so many times longer or shorter hold a shadow stage"
    )
    breaker_errors: int = Field(
        default=5, ge=1, description="failed canary answers, and users who met one, before the breaker looks"
    )
    breaker_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="share of users who met a failed answer, above the champion's, that trips it",
    )
    breaker_window: int = Field(default=200, ge=1, description="latest canary answers that the breaker looks at")
    tick_seconds: float = Field(default=1.0, gt=0, description="pause between two looks at the rollouts")
    approval_deadline_seconds: float = Field(default=7 * 86_400, gt=0, description="unapproved by then: rejected")
    approvals: Literal[1, 2] = Field(
        default=1, description="2: four eyes; two accounts of different people must approve, keys cannot"
    )
    freeze_windows: str = Field(
        default="",
        description="times in which no rollout moves forward, divided by semicolons: fri 16:00 - mon 08:00 "
        "Europe/Berlin, or 2026-12-20 18:00 - 2027-01-04 08:00 UTC; the way back is never frozen",
    )
    loading_deadline_seconds: float = Field(default=300, gt=0, description="model not loaded by then: aborted")
    announce_again_seconds: float = Field(default=30, gt=0, description="a move nobody took up is announced again")
    audit_key: SecretStr = Field(
        default=SecretStr(""), description="seals the audit log, so that nobody without it can write it anew"
    )
    manifest_key: SecretStr = Field(
        default=SecretStr(""), description="Ed25519 key that signs what is adopted (`heliotrope keys draw`)"
    )
    assertion_key: SecretStr = Field(
        default=SecretStr(""), description="Ed25519 key that signs who has signed in; empty: nobody signs in"
    )
    routing_key: SecretStr = Field(
        default=SecretStr(""), description="Ed25519 key that signs routing tables; empty: unsigned"
    )
    serving: Literal["endpoints", "local", "vllm"] = Field(
        default="endpoints",
        description="vllm: adapters are loaded on every replica under a name of their own; local: whole weights too, "
        "on a server that starts empty; endpoints: servers that know every version themselves",
    )
    replica_urls: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="base URLs of vLLM's replicas, or of their agents, comma separated; dns+http://host:port/v1 stands "
        "for every address of the host; empty: the model server URLs",
    )
    adapters_by_address: bool = Field(
        default=False, description="whether replicas have an agent that fetches adapters; else they read this disk"
    )
    gateway_urls: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="gateways that must have answered by the table in force before an adapter is unloaded; "
        "dns+http://host:port stands for every address of the host",
    )
    model_server_key: SecretStr = Field(default=SecretStr(""), description="API key that model servers ask for")
    answer_seconds: float = Field(default=120, gt=0, description="time to a model server's answer, loading included")
    drain_seconds: float = Field(
        default=900, ge=0, description="an adapter that nobody is routed to any more is unloaded after this long"
    )
    webhook_urls: SecretStr = Field(
        default=SecretStr(""),
        description="addresses that are told of each decision that is needed, comma separated; slack+https://... is "
        "sent what Slack takes",
    )
    webhook_hosts: Annotated[list[str], NoDecode] = Field(
        default=[], description="hosts that webhooks may have, comma separated; no other one is called"
    )
    webhook_secret: SecretStr = Field(default=SecretStr(""), description="signs what webhooks are sent (HMAC-SHA256)")
    webhook_timeout_seconds: float = Field(default=10.0, gt=0, description="until a webhook has answered")
    webhook_give_up_seconds: float = Field(
        default=3 * 86_400, gt=0, description="a notice that could not be delivered by then is given up"
    )
    notices_kept_seconds: float = Field(default=90 * 86_400, gt=0, description="how long the delivery log goes back")
    console_url: str = Field(default="", description="where people find the console, for links in notices")
    alerts_url: str = Field(
        default="",
        description="Prometheus, whose firing alerts keep the approval policy from approving; empty: the deployer's "
        "own tables alone do",
    )
    votes_wait_seconds: float = Field(
        default=7 * 86_400, gt=0, description="how long a thumb and its answer wait for each other"
    )

    @property
    def webhooks(self) -> list[Webhook]:
        return [_read_webhook(url) for url in self._list_webhook_urls()]

    def _list_webhook_urls(self) -> list[str]:
        return [url.strip() for url in self.webhook_urls.get_secret_value().split(",") if url.strip()]

    @model_validator(mode="after")
    def _check_webhooks(self) -> Self:
        for number, url in enumerate(self._list_webhook_urls(), start=1):
            parts = urlsplit(url.removeprefix(SLACK))
            if parts.scheme not in ("http", "https") or parts.username is not None or parts.password is not None:
                raise ValueError(f"webhook_urls: address {number} must be http(s)://, without a user")
            if parts.hostname not in self.webhook_hosts:
                raise ValueError(f"webhook_urls: the host of address {number} is not among webhook_hosts")
        return self

    @field_validator("webhook_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return [host.strip().lower() for host in value.split(",") if host.strip()]
        return value

    @field_validator("replica_urls", "gateway_urls", mode="before")
    @classmethod
    def _split_urls(cls, value: object) -> object:
        if isinstance(value, str):
            return [url.strip().rstrip("/") for url in value.split(",") if url.strip()]
        return value

    @field_validator("stages")
    @classmethod
    def _check_stages(cls, stages: list[float]) -> list[float]:
        if not stages or stages != sorted(set(stages)) or stages[0] <= 0 or stages[-1] != 100:
            raise ValueError("must grow from above 0 to 100, for example [1, 5, 25, 50, 100]")
        return stages

    @field_validator("freeze_windows")
    @classmethod
    def _check_windows(cls, windows: str) -> str:
        parse_windows(windows)
        return windows


def _read_webhook(address: str) -> Webhook:
    url = address.removeprefix(SLACK)
    target = f"{urlsplit(url).hostname} ({hashlib.sha256(address.encode()).hexdigest()[:8]})"
    return Webhook(target, url, is_slack=address.startswith(SLACK))
