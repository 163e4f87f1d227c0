"""The chart, installed as docs/operations.md says, in a namespace that enforces `restricted` and denies by default.

HELIOTROPE_TEST_GOES_ON=1 takes what an earlier run left in the cluster, and leaves it there.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.layout import find_base_model, find_checkout
from shared.service_access import DATABASE_ROLES
from tests.containers.engine import run
from tests.kubernetes.cluster import (
    HERE,
    NAMESPACE,
    RELEASE,
    ROOT,
    STORES,
    STRANGERS,
    WITH_FILES,
    apply,
    bring_images,
    find_tools,
    finish_pod,
    is_there,
    kubectl,
    start_pod,
    wait_for_rollout,
)
from tests.kubernetes.manual import read_manual, run_line

NEEDED = {
    "KUBECONFIG": "a cluster",
    "LOAD_IMAGES": "a command that brings images to its nodes, for instance `kind load docker-image`",
    "KAFKA_HOME": "an unpacked Apache Kafka",
}
PASSWORD = "password-of-the-tests"
GOES_ON = bool(os.environ.get("HELIOTROPE_TEST_GOES_ON"))
SERVED = "tiny"
MODEL = f"s3://heliotrope/models/{SERVED}"
UPLOAD = f"import fsspec; fsspec.filesystem('s3').put('/model/', '{MODEL.removeprefix('s3://')}/', recursive=True)"
DENY_ALL = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny-all"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every image, on the cluster's nodes."""
    for name, what in NEEDED.items():
        if name not in os.environ:
            pytest.fail(f"{name} must name {what}")
    if shutil.which("kubectl") is None:
        pytest.fail("kubectl must be found")
    model = find_base_model().with_name("tiny-bad")
    run(sys.executable, "-m", "local.models.checkpoints", "tiny", str(model), "--habits", "bad", cwd=find_checkout())
    if not GOES_ON:
        bring_images(tmp_path_factory.mktemp("images"), model)


@pytest.fixture(scope="session")
def stores(images: None) -> Iterator[None]:
    """Kafka, Postgres, Redis, an object store with the base model in it, and MLflow; all of it gone afterwards."""
    if not is_there("namespace", STORES):
        for namespace in (STORES, STRANGERS):
            kubectl("create", "namespace", namespace, namespace="default")
        kubectl("apply", "-f", str(HERE / "stores.yaml"), namespace=STORES)
        wait_for_rollout(
            *("statefulset/kafka", "statefulset/postgres", "statefulset/objects", "deployment/redis"),
            namespace=STORES,
        )
        wait_for_rollout("deployment/mlflow", namespace=STORES)
    if not is_there("pod", "upload", namespace=STORES):
        environment = {
            "AWS_ACCESS_KEY_ID": "heliotrope",
            "AWS_ENDPOINT_URL": "http://objects:9000",
            "AWS_SECRET_ACCESS_KEY": {"secretKeyRef": {"name": "stores", "key": "objects"}},
        }
        start_pod("upload", WITH_FILES["models"], UPLOAD, namespace=STORES, environment=environment)
        finish_pod("upload", namespace=STORES)
    yield
    if not GOES_ON:
        for namespace in (NAMESPACE, STORES, STRANGERS):
            kubectl("delete", "namespace", namespace, "--ignore-not-found", namespace="default", minutes=10)


@pytest.fixture(scope="session")
def workplace(stores: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the chart and what the manual has its reader write."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "helm").symlink_to(ROOT / "helm")
    (folder / "heliotrope.env").write_text("".join(f"{name}={value}\n" for name, value in make_secret().items()))
    shutil.copy(HERE / "values.yaml", folder / "values.yaml")
    login = f"[default]\naws_access_key_id = heliotrope\naws_secret_access_key = {PASSWORD}\n"
    (folder / "credentials").write_text(login)
    return folder


@pytest.fixture(scope="session")
def tools(workplace: Path) -> dict[str, str]:
    """The environment for commands of the manual."""
    return find_tools(workplace / "bin")


@pytest.fixture(scope="session")
def release(workplace: Path, tools: dict[str, str]) -> dict[str, str]:
    """The release, installed, with a champion; role -> API key."""
    if not is_there("namespace", NAMESPACE):
        for line in read_manual().lines:
            run_line(line.replace("NAME", SERVED).replace("ADDRESS", MODEL), workplace, tools)
            if line == f"kubectl create namespace {NAMESPACE}":
                apply(DENY_ALL)
    return read_keys()


def read_keys() -> dict[str, str]:
    """Read the release's API keys by role."""
    template = "go-template={{.data.HELIOTROPE_API_KEYS | base64decode}}"
    return dict(json.loads(kubectl("get", "secret", f"{RELEASE}-keys", "-o", template)))


def make_secret() -> dict[str, str]:
    """What the manual has in heliotrope.env."""
    database = f"postgresql+psycopg://{{}}:{PASSWORD}@postgres.{STORES}:5432/heliotrope"
    return {
        "HELIOTROPE_REDIS_URL": f"redis://redis.{STORES}:6379/0",
        "HELIOTROPE_USER_HASH_SECRET": "a user hash secret of the tests",
        "HELIOTROPE_FEEDBACK_TOKEN_SECRET": "a token secret of the tests",
        "HELIOTROPE_DEPLOYER_AUDIT_KEY": "an audit key of the tests",
        "HELIOTROPE_ROLE_PASSWORDS": json.dumps(dict.fromkeys(DATABASE_ROLES, PASSWORD)),
        "HELIOTROPE_DATABASE_URL_MIGRATOR": database.format("heliotrope"),
        **{f"HELIOTROPE_DATABASE_URL_{role.upper()}": database.format(f"heliotrope_{role}") for role in DATABASE_ROLES},
    }
