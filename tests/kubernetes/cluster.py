"""A cluster that KUBECONFIG names: kubectl, Helm, images brought to its nodes, and pods that run once."""

import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.containers.engine import Composed, build_python, copy_checkout, import_debian, run

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PODS = HERE / "pods"
RELEASE = NAMESPACE = "heliotrope"
STORES, STRANGERS = "stores", "strangers"
BUILT = ("heliotrope:0.1.0-edge", "heliotrope:0.1.0-slim", "heliotrope:0.1.0-gpu", "heliotrope:0.1.0-mlflow")
SLIM = BUILT[1]
NEWER = "0.1.1"
"""A second tag of the same images: what an upgrade to a newer image names."""
REPLACED = ("heliotrope-test/postgres", "heliotrope-test/redis", "heliotrope-test/objects")
WITH_FILES = {"kafka": "heliotrope-test/kafka-with-libs", "models": "heliotrope-test/models-with-weights"}
OURS = {"app.kubernetes.io/name": "heliotrope", "app.kubernetes.io/instance": RELEASE}
AS_OPERATOR = OURS | {"app.kubernetes.io/component": "release-test"}
"""Of a pod that may reach every service: the labels of the release's own test."""
Found = TypeVar("Found")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def kubectl(*arguments: str, namespace: str = NAMESPACE, minutes: float = 5, **options: Any) -> str:
    """Run kubectl; return what it printed. Raises: AssertionError: it failed; with what it said."""
    return run("kubectl", "-n", namespace, *arguments, minutes=minutes, **options)


def is_there(*kind_and_name: str, namespace: str = "default") -> bool:
    """Tell whether the cluster has something."""
    return bool(kubectl("get", *kind_and_name, "--ignore-not-found", "-o", "name", namespace=namespace).strip())


def find_tools(folder: Path) -> dict[str, str]:
    """Return the environment in which `helm` is a command, our stand-in where there is none."""
    if shutil.which("helm") is None:
        folder.mkdir(exist_ok=True)
        python = ROOT / ".venv-ops" / "bin" / "python"
        (folder / "helm").write_text(f'#!/bin/sh\nexec "{python}" "{HERE / "helm.py"}" "$@"\n')
        (folder / "helm").chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


def bring_images(folder: Path, model: Path) -> None:
    """Build the Dockerfile's images and the stores' replacements, and hand them to the cluster's nodes.

    LOAD_IMAGES is the command that does so, given the images' names: for instance `kind load docker-image`.
    """
    import_debian(folder)
    build_python(folder)
    composed = Composed(copy_checkout(folder / "checkout"), model, 26_000)
    for service in ("ingest", "prepare", "mlflow", "trainer", "kafka", "postgres", "redis", "objects", "vllm"):
        composed("build", service, minutes=30)
    _add_files(folder / "kafka", "kafka", Path(os.environ["KAFKA_HOME"]) / "libs", "libs")
    _add_files(folder / "models", "models", model, "model")
    newer = [name.replace(":0.1.0", f":{NEWER}") for name in BUILT]
    for name, again in zip(BUILT, newer, strict=True):
        run("docker", "tag", name, again)
    run(*shlex.split(os.environ["LOAD_IMAGES"]), *REPLACED, *WITH_FILES.values(), *BUILT, *newer, minutes=30)


def _add_files(context: Path, target: str, files: Path, name: str) -> None:
    shutil.copytree(files, context / name)
    recipe = str(HERE / "images" / f"{target}.Dockerfile")
    command = ["docker", "build", "--quiet", "--tag", WITH_FILES[target], "--file", recipe, str(context)]
    run(*command, minutes=10, env=os.environ | {"DOCKER_BUILDKIT": "0"})


def find_pods(component: str) -> list[dict[str, Any]]:
    """Return a service's pods, those that are ending left out."""
    selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
    found = json.loads(kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def have_ended() -> bool:
    """Tell whether no pod of the release is still ending."""
    pods = json.loads(kubectl("get", "pods", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "json"))["items"]
    return not any("deletionTimestamp" in pod["metadata"] for pod in pods)


def is_ready(pod: dict[str, Any]) -> bool:
    """Tell whether all containers of a pod are ready."""
    statuses = pod["status"].get("containerStatuses", [])
    return bool(statuses) and all(status["ready"] for status in statuses)


def wait_for(look: Callable[[], Found | None], what: str, *, seconds: float = 300) -> Found:
    """Look again and again until there is something. Raises: AssertionError: there was nothing in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(1)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def wait_for_rollout(*kinds_and_names: str, namespace: str = NAMESPACE, minutes: float = 10) -> float:
    """Wait until these are rolled out; return the seconds that it took."""
    started = time.monotonic()
    for name in kinds_and_names:
        kubectl("rollout", "status", name, f"--timeout={minutes:.0f}m", namespace=namespace, minutes=minutes + 1)
    return time.monotonic() - started


def start_pod(
    name: str,
    image: str,
    script: str,
    *arguments: str,
    namespace: str = NAMESPACE,
    labels: dict[str, str] | None = None,
    environment: dict[str, Any] | None = None,
) -> None:
    """Start a Python script in a pod of its own, within what `restricted` allows; one of that name goes before it."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    variables = [
        {"name": key, **({"value": value} if isinstance(value, str) else {"valueFrom": value})}
        for key, value in (environment or {}).items()
    ]
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", script, *arguments],
        "env": variables,
        "securityContext": security,
    }
    spec = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}
    kubectl("delete", "pod", name, "--ignore-not-found", "--grace-period=1", namespace=namespace)
    apply(pod, namespace=namespace)


def apply(manifest: dict[str, Any], *, namespace: str = NAMESPACE) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (written := Path(folder) / "manifest.yaml").write_text(yaml.safe_dump(manifest))
        kubectl("apply", "-f", str(written), namespace=namespace)


ASK = """
import sys, urllib.request as r
url, key, body = sys.argv[1:]
headers = {"authorization": "Bearer " + key, "content-type": "application/json"}
sys.stdout.write(r.urlopen(r.Request(url, body.encode() or None, headers), timeout=60).read().decode())
"""


def ask(service: str, path: str, key: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask a service of the release from its deployer's pod, by POST where there is a body."""
    url = f"http://{RELEASE}-{service}{path}"
    command = ["python", "-c", ASK, url, key, json.dumps(body) if body else ""]
    return dict(json.loads(kubectl("exec", f"deploy/{RELEASE}-deployer", "--", *command)))


def find_ended_run(keys: dict[str, str], request_id: str) -> dict[str, Any] | None:
    """Find the run that a request came to, once it has ended."""
    runs = ask("trainer:8008", "/v1/runs", keys["ops"])["runs"]
    run = next((each for each in runs if each["request_id"] == request_id), None)
    return run if run and run["state"] not in ("queued", "running") else None


def finish_pod(name: str, *, namespace: str = NAMESPACE, minutes: float = 5) -> str:
    """Wait until a pod has ended; return what it printed. Raises: AssertionError: it failed."""

    def read_phase() -> str | None:
        phase = kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}", namespace=namespace).strip()
        return phase if phase in ("Succeeded", "Failed") else None

    phase = wait_for(read_phase, f"the end of {name}", seconds=minutes * 60)
    told = kubectl("logs", name, namespace=namespace)
    assert phase == "Succeeded", told[-4000:]
    return told
