"""Backup, wipe and restore of the compose stack, command for command as docs/operations.md has them."""

import shutil
from pathlib import Path

from tests.containers.engine import Composed

DATABASES = ("heliotrope", "heliotrope_mlflow")
RESTORE = ("pg_restore", "-U", "heliotrope", "--no-owner", "--no-privileges", "--exit-on-error", "-d")
WRITE_KEYS = "umask 077; cat > /var/lib/heliotrope/credentials.json"


def back_up(compose: Composed, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for name in DATABASES:
        compose("exec", "-T", "postgres", "pg_dump", "-U", "heliotrope", "-Fc", name, into=folder / f"{name}.dump")
    compose("stop", "objects")
    compose("cp", "-a", "objects:/data", str(folder / "objects"))
    compose("start", "objects")
    compose("cp", "prepare:/var/lib/heliotrope/credentials.json", str(folder))
    shutil.copytree(compose.folder / "secrets", folder / "secrets")


def restore(compose: Composed, folder: Path) -> None:
    """Wipe first: containers, volumes and secrets."""
    compose("down", "--volumes", "--timeout", "20")
    shutil.rmtree(compose.folder / "secrets")
    shutil.copytree(folder / "secrets", compose.folder / "secrets")
    compose("up", "--detach", "--wait", "postgres", "kafka", "redis")
    compose("create", "objects")
    compose("cp", "-a", f"{folder}/objects/.", "objects:/data")
    for name in DATABASES:
        compose("exec", "-T", "postgres", *RESTORE, name, source=folder / f"{name}.dump")
    compose("run", "--rm", "--no-deps", "-T", "prepare", "sh", "-c", WRITE_KEYS, source=folder / "credentials.json")
    compose.run_once("prepare")
    compose.run_once("prepare", "heliotrope", "begin-epoch", "a backup was restored")
    compose("up", "--detach", "--wait", "--wait-timeout", "600", minutes=15)
