"""The compose file, as the real Docker Compose reads it, and what it promises."""

import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PUBLIC = {"ingest", "gateway", "deployer"}


def find_compose() -> str:
    spec = find_spec("compose")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "docker-compose")


def run_compose(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [find_compose(), "--profile", "gpu", "--env-file", ".env.example", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    said = run_compose(ROOT, "config", "--format", "json")
    assert said.returncode == 0, said.stderr
    assert "warning" not in said.stderr.lower()
    found: dict[str, Any] = json.loads(said.stdout)["services"]
    return found


def test_compose_refuses_what_is_wrong(tmp_path: Path):
    for name in ("docker-compose.yml", ".env.example"):
        shutil.copy(ROOT / name, tmp_path / name)
    file = tmp_path / "docker-compose.yml"
    file.write_text(file.read_text().replace("    healthcheck: {disable: true}\n", "    helthcheck: {disable: true}\n"))
    said = run_compose(tmp_path, "config", "-q")
    assert said.returncode != 0
    assert "helthcheck" in said.stderr


def test_only_ingest_gateway_and_deployer_can_leave_loopback(services: dict[str, Any]):
    text = (ROOT / "docker-compose.yml").read_text()
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
    assert text.count("${HELIOTROPE_PUBLISH_HOST:-127.0.0.1}:") == len(PUBLIC)


def test_our_containers_are_confined(services: dict[str, Any]):
    ours = {name: each for name, each in services.items() if str(each.get("image")).endswith(("-slim", "-gpu"))}
    assert len(ours) == 9
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_no_secret_is_in_the_environment(services: dict[str, Any]):
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            if any(word in variable for word in ("PASSWORD", "SECRET_", "_SECRET", "DATABASE_URL", "REDIS_URL")):
                assert str(value).startswith("/run/secrets"), (name, variable)


def test_every_image_is_pinned(services: dict[str, Any]):
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert any(digit in tag for digit in "0123456789"), (name, tag)
        assert tag != "latest", name
