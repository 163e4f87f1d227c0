"""Checks of this machine: Python and its packages, the home folder, the disk, the ports."""

import importlib.metadata
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from cli.doctor.finding import Finding, ok, problem, warning
from local.layout import OFFSETS, Layout, find_checkout
from local.supervision.readiness import is_port_free

NEEDED_PYTHON = (3, 11)
LITTLE_BYTES = 5 * 2**30
TOO_LITTLE_BYTES = 2**30


def check_python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < NEEDED_PYTHON:
        yield problem("python", f"this is Python {version}", "use Python 3.11 or newer: make PYTHON=python3.11 setup")
    else:
        yield ok("python", f"Python {version}")


def check_packages(lock: Path | None = None) -> Iterator[Finding]:
    """Yield the installed versions against the lock file, where there is one."""
    lock = lock or find_checkout() / "requirements.lock"
    if not lock.exists():
        yield ok("packages", "no lock file here: installed as a package")
        return
    wanted = dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))
    wrong = []
    for name, version in wanted.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found.partition("+")[0] != version:
            wrong.append(f"{name} is {found}, not {version}")
    if wrong:
        yield warning("packages", "; ".join(wrong[:5]) + (" ..." if len(wrong) > 5 else ""), "make setup")
    else:
        yield ok("packages", f"{len(wanted)} packages as locked")


def check_home(layout: Layout) -> Iterator[Finding]:
    """Yield whether state can be kept, and whether others can read the secrets."""
    home = layout.home
    if not home.exists():
        yield warning("home", f"{home} does not exist: no stack was ever started here", "heliotrope up")
        return
    if not os.access(home, os.W_OK | os.X_OK):
        remedy = f"give this user the folder (chown -R), or say another with HELIOTROPE_HOME (now {home})"
        yield problem("home", f"{home} cannot be written by this user", remedy)
        return
    yield ok("home", str(home))
    for path in (layout.secrets, layout.credentials):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield problem("secrets", f"{path} can be read by other users", f"chmod 600 '{path}'")


def check_disk(layout: Layout) -> Iterator[Finding]:
    folder = next(parent for parent in (layout.home, *layout.home.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    summary = f"{free / 2**30:.1f} GiB free at {folder}"
    remedy = "free space: old runs and checkpoints are in runs/, logs in logs/; or move HELIOTROPE_HOME"
    if free < TOO_LITTLE_BYTES:
        yield problem("disk", summary, remedy)
    elif free < LITTLE_BYTES:
        yield warning("disk", summary, remedy)
    else:
        yield ok("disk", summary)


def check_ports(layout: Layout) -> Iterator[Finding]:
    """Check whether a stack that does not run could."""
    taken = {name: layout.port(name) for name in OFFSETS if not is_port_free(layout.port(name))}
    if taken:
        summary = "; ".join(f"{port} (for {name}) is in use by {_find_owner(port)}" for name, port in taken.items())
        remedy = f"stop what uses them, or move the stack: HELIOTROPE_PORT_BASE={layout.port_base + 1000} heliotrope up"
        yield problem("ports", summary, remedy)
    else:
        yield ok("ports", f"{layout.port_base + 1} to {layout.port_base + max(OFFSETS.values())} are free")


def _find_owner(port: int) -> str:
    """Which process listens there, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return "something else"
