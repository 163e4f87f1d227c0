"""The compose file, as the real Docker Compose reads it, and what it promises."""

import base64
import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from shared.service_access import PROCESSES

ROOT = Path(__file__).parents[2]
PUBLIC = {"console", "ingest", "gateway", "deployer"}
EDGE = ("ingest", "gateway", "console")
"""They store no files for others."""
ON_KAFKA = set(PROCESSES) - {"drift-monitor", "trainer-worker", "console"}
"""The others are woken by rows, by Celery, and by people."""


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


def test_only_console_ingest_gateway_and_deployer_can_leave_loopback(services: dict[str, Any]):
    text = (ROOT / "docker-compose.yml").read_text()
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
    assert text.count("${HELIOTROPE_PUBLISH_HOST:-127.0.0.1}:") == len(PUBLIC)


def test_our_containers_are_confined(services: dict[str, Any]):
    ours = {
        name: each
        for name, each in services.items()
        if str(each.get("image")).endswith(("-edge", "-slim", "-gpu", "-mlflow"))
    }
    assert len(ours) == 12
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


def read_targets(service: dict[str, Any]) -> dict[str, str]:
    """The secrets of a container: the file it finds them in -> which secret it is."""
    return {Path(each.get("target") or each["source"]).name: each["source"] for each in service.get("secrets", [])}


OPTIONAL = {
    "gateway_model_server_key",
    "gateway_shadow_judge_key",
    "deployer_model_server_key",
    "curator_embedder_api_key",
    "deployer_webhook_urls",
    "deployer_webhook_secret",
}
"""What only some installations have."""


def test_each_service_holds_its_own_secrets_and_its_own_database_role(services: dict[str, Any]):
    for name, access in PROCESSES.items():
        targets = read_targets(services[name])
        assert (targets.pop("objects_credentials", None) is None) == (name in EDGE)
        assert targets.pop("heliotrope_database_url") == f"database_url_{access.role}"
        login = targets.pop("heliotrope_kafka_sasl_password", None)
        assert login == (f"kafka_password_{name}" if name in ON_KAFKA else None)
        assert services[name]["environment"].get("HELIOTROPE_KAFKA_SASL_USERNAME") == (name if login else None)
        if redis := targets.get("heliotrope_redis_url"):
            assert redis == f"redis_url_{access.role}"
        targets = {name: source for name, source in targets.items() if not name.endswith("_public_keys")}
        assert set(targets) == {f"heliotrope_{secret}" for secret in set(access.secrets) - OPTIONAL}, name


def test_whoever_writes_to_mlflow_logs_in_as_itself_and_nobody_else_can(services: dict[str, Any]):
    for name, service in services.items():
        held = {source for source in read_targets(service).values() if source.startswith("mlflow_")}
        user = (service.get("environment") or {}).get("HELIOTROPE_MLFLOW_USERNAME")
        if name == "mlflow":
            assert held == {"mlflow_passwords", "mlflow_session_key"}
        else:
            assert held == ({f"mlflow_password_{user}"} if user else set()), name
            assert user in (None, PROCESSES[name].role if name in PROCESSES else None)
    assert services["mlflow"]["command"][1] == services["mlflow"]["configs"][0]["target"]


def test_what_holds_the_admin_key_and_the_superuser_is_given_to_no_service(services: dict[str, Any]):
    for name, service in services.items():
        mounted = {volume["source"] for volume in service.get("volumes", []) if volume["type"] == "volume"}
        if name != "prepare":
            assert "keys" not in mounted, name
            assert "heliotrope_database_url" not in read_targets(service).values(), name
            assert "heliotrope_role_passwords" not in read_targets(service).values(), name


def test_our_services_share_no_volume(services: dict[str, Any]):
    """Files pass between them through the object store; vLLM reads what the agent beside it fetched."""
    homes = [
        volume["source"]
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if volume["target"] == "/var/lib/heliotrope" and name != "vllm"
    ]
    assert sorted(homes) == sorted(set(homes))
    assert len(homes) == len({*PROCESSES, "prepare", "vllm-agent"} - {"ingest", "console"})


def test_the_secrets_that_are_made_fit_together(tmp_path: Path):
    """Run twice: what is there stays."""
    (tmp_path / "observability").mkdir()
    script = tmp_path / "observability" / "make-compose-secrets.sh"
    shutil.copy(ROOT / "observability" / "make-compose-secrets.sh", script)
    made = []
    for _ in range(2):
        subprocess.run([str(script)], check=True)
        made.append({path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()})
    assert made[0] == made[1]
    passwords = json.loads(made[0]["heliotrope_role_passwords"])
    assert set(passwords) == {access.role for access in PROCESSES.values()} | {"mlflow"}
    for role, password in passwords.items():
        assert f"://heliotrope_{role}:{password}@postgres:5432/heliotrope" in made[0][f"database_url_{role}"]
    assert len(set(passwords.values())) == len(passwords)
    users = json.loads(made[0]["mlflow_passwords"])
    assert users == {name: made[0][f"mlflow_password_{name}"] for name in ("trainer", "evaluator", "deployer", "admin")}
    for name in ("trainer_manifest", "deployer_manifest", "deployer_routing", "deployer_assertion"):
        assert len(base64.b64decode(made[0][f"heliotrope_{name}_key"])) == 32
    for name in ("gateway_routing", "assertion"):
        assert len(base64.b64decode(made[0][f"heliotrope_{name}_public_keys"])) == 32
    for service in (*ON_KAFKA, "prepare"):
        assert f'user_{service}="{made[0][f"kafka_password_{service}"]}"' in made[0]["kafka_users"]
    for user in ("ingest", "trainer", "console"):
        password = made[0][f"redis_url_{user}"].removeprefix(f"redis://{user}:").removesuffix("@redis:6379/0")
        assert f"user {user} on >{password} " in made[0]["redis_users"]
    assert made[0]["objects_credentials"].endswith(f"aws_secret_access_key = {made[0]['objects_password']}")
    assert len(made[0]["heliotrope_manifest_public_keys"].split(",")) == 2
    assert re.fullmatch(r"hk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made[0]["heliotrope_gateway_internal_key"])


def test_the_containers_of_the_tests_name_a_recipe_that_there_is():
    replacements = (ROOT / "tests" / "containers" / "replacements.yml").read_text()
    [recipe] = re.findall(r"HELIOTROPE_CURATOR_RECIPE: (\w+)", replacements)
    assert (ROOT / "recipes" / f"{recipe}.yaml").is_file()
