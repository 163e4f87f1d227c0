"""What compose and the chart start each service with, and the same on this machine: hosts and paths substituted."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STATE = "/var/lib/heliotrope"
CHART_VALUES = "minimal-values.yaml"
RENDER = """
import json, sys, helm_python, yaml
chart, values = sys.argv[1:]
with helm_python.Chart.load(chart) as loaded:
    rendered = loaded.render(yaml.safe_load(open(values).read()), name="sun", namespace="loop")
documents = (each for text in rendered.values() for each in yaml.safe_load_all(text) if each)
print(json.dumps([each for each in documents if each["kind"] in ("Deployment", "StatefulSet")]))
"""


@dataclass(frozen=True)
class Container:
    """`environment` as written; `secrets` are the variables whose values it is given otherwise."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    secrets: frozenset[str]


def read_compose() -> dict[str, Container]:
    """Our services by name, as the real Compose resolves the file."""
    (compose,) = (ROOT / ".venv-ops").glob("lib/python*/site-packages/compose/docker-compose")
    command = [str(compose), "--profile", "gpu", "--env-file", ".env.example", "config", "--format", "json"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    services: dict[str, Any] = json.loads(said.stdout)["services"]
    return {
        name: Container(
            tuple(service["command"]),
            service["environment"],
            frozenset(Path(secret.get("target") or secret["source"]).name.upper() for secret in service["secrets"]),
        )
        for name, service in services.items()
        if str(service["image"]).endswith(("-edge", "-slim", "-gpu"))
    }


def read_chart() -> dict[str, Container]:
    """Our services by name, as Helm renders the chart."""
    chart = ROOT / "helm" / "heliotrope"
    python = ROOT / ".venv-ops" / "bin" / "python"
    command = [str(python), "-c", RENDER, str(chart), str(chart / "ci" / CHART_VALUES)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = {}
    for manifest in json.loads(said.stdout):
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        if container["command"][0] != "python":  # vLLM
            continue
        plain = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        secret = frozenset(each["name"] for each in container["env"] if "valueFrom" in each)
        found[container["name"]] = Container(tuple(container["command"]), plain, secret)
    return found


def read_image() -> tuple[list[str], dict[str, str]]:
    """What the Dockerfile copies into /app, and the environment it sets."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)
    (build,) = (stage for stage in stages if stage.startswith("build AS build-app"))
    copied = [word for line in re.findall(r"^COPY (.*)$", build, re.MULTILINE) for word in line.split()[:-1]]
    base = re.search(r"AS base\n.*?^ENV (.*?)$", text, re.MULTILINE | re.DOTALL)
    assert base is not None
    return copied, dict(re.findall(r"([A-Z_]+)=(\S+)", base[1]))


def copy_app(folder: Path) -> None:
    """The image's /app: what git tracks of what the Dockerfile copies."""
    copied, _ = read_image()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *copied],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def write_constraints(folder: Path) -> Path:
    """The locked versions without their hashes, which pip takes for requirements and not for constraints."""
    locks = ((ROOT / name).read_text() for name in ("requirements.lock", "requirements-torch.lock"))
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(re.findall(r"^[\w.-]+==[\w.]+", "\n".join(locks), re.MULTILINE)))
    return constraints


def make_venv(folder: Path, app: Path, extra: str) -> None:
    """A clean environment with this extra and what the `heliotrope` command needs beside it, as the Dockerfile says."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    index = os.environ.get("TORCH_INDEX_URL")
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--constraint", str(write_constraints(folder)), *(["--extra-index-url", index] if index else [])]
    command += ["--editable", f".[{extra}]" if extra else ".", "redis", "psutil"]
    subprocess.run(command, cwd=app, check=True)


def substitute(container: Container, here: Mapping[str, str], folder: Path, venv: Path) -> dict[str, str]:
    """The environment: the image's, then the container's; `here` are hosts and secrets of this machine."""
    _, image = read_image()
    (folder / "state").mkdir(exist_ok=True)  # the volume
    environment = {**image, **container.environment, "PATH": f"{venv / 'bin'}:/usr/bin:/bin"}
    for name, value in environment.items():
        if name in here:
            environment[name] = here[name]
        elif value.startswith(STATE):
            environment[name] = str(folder / "state") + value.removeprefix(STATE)
    if "HELIOTROPE_SECRETS_DIR" in environment:
        secrets = folder / "secrets"
        secrets.mkdir(exist_ok=True)
        for name in container.secrets:
            (secrets / name.lower()).write_text(here[name])
        environment["HELIOTROPE_SECRETS_DIR"] = str(secrets)
    else:
        environment |= {name: here[name] for name in container.secrets}
    return environment
