"""Settings of the console, `HELIOTROPE_CONSOLE_*`, beside the shared ones."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import PORT_NUMBERS

ASKED = ("ingest", "gateway", "curator", "deployer", "evaluator", "trainer", "drift-monitor", "trainer-worker")
"""Processes whose readiness the health page asks for."""


class ConsoleSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="HELIOTROPE_CONSOLE_", extra="ignore", frozen=True)

    url: str = Field("", description="where people find the console; with https:// its cookies are sent by TLS alone")
    service_urls: dict[str, str] = Field(
        {},
        description='where services are, as JSON: {"deployer": "http://deployer:8004", ...}; default: their ports of '
        "this stack",
    )
    session_seconds: float = Field(12 * 3_600, gt=0, description="who signed in must do so again after this long")
    recheck_seconds: float = Field(
        30, gt=0, le=50, description="how often the deployer is asked whether an account still stands"
    )
    grace_seconds: float = Field(
        300, ge=0, description="how long one may go on looking while the deployer does not answer"
    )
    answer_seconds: float = Field(30, gt=0, description="time to a service's answer")
    look_seconds: float = Field(2, gt=0, description="how often live pages look whether the loop has moved")
    statement_seconds: float = Field(5, gt=0, description="a query of a page that takes longer is given up")

    def find_service(self, name: str, port_base: int) -> str:
        """Return the base URL of a service."""
        return self.service_urls.get(name, f"http://127.0.0.1:{port_base + PORT_NUMBERS[name]}").rstrip("/")

    @property
    def uses_tls(self) -> bool:
        return self.url.startswith("https://")
