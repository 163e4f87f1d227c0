"""The process of a reward function: `python -I child.py FOLDER MODULE:ATTRIBUTE {"readable": [..], "writable": [..]}`.

It imports nothing of Heliotrope. A line of JSON in holds the arguments of one call, a line out its rewards, or what
went wrong. What the function prints goes nowhere.

Before the function is imported, the process gives up the rights of root, if it has them, and Linux' Landlock shuts it
off: it reads code, libraries, the system's configuration and what is named, writes into its own folder and what is
named, reaches NVIDIA's GPUs, and can look into no process outside, so that the environment and the memory of the
worker stay closed to it.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

FILE_BYTES = 64 << 20
"""The largest file that it may write."""
READABLE = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/nix/store", "/proc", "/sys/devices/system")
OF_ETC = (
    *("ld.so.cache", "passwd", "group", "localtime", "timezone", "mime.types", "ssl", "pki", "ca-certificates"),
    *("hosts", "host.conf", "resolv.conf", "nsswitch.conf", "services", "protocols", "gai.conf"),
)
"""What libraries read of /etc: users' names, the time, certificates, the network's names."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", *sorted(map(str, Path("/dev").glob("nvidia*"))))
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Landlock's system calls, the same on every architecture."""
RULE_BENEATH, ONLY_VERSION = 1, 1
RUN, WRITE, READ, LIST = 1, 2, 4, 8
"""Rights to files and folders; those that follow are to make and remove them."""
RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1}
ALL_RIGHTS = (1 << 15) - 1
SCOPES = 3
"""From version 6 on: no signals to processes outside, and no abstract sockets of theirs."""
CAPABILITIES_VERSION = 0x20080522
NO_NEW_PRIVILEGES, DIE_WITH_PARENT = 38, 1
LIBC = ctypes.CDLL(None, use_errno=True)


def main(folder: str, target: str, named: str) -> None:
    """Answer calls until there are no more."""
    LIBC.prctl(DIE_WITH_PARENT, signal.SIGKILL)  # nobody is left to stop it otherwise
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    calls, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nothing, stream)

    def reply(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    sys.path.append(folder)
    system = [*READABLE, *(f"/etc/{name}" for name in OF_ETC), sys.prefix, sys.base_prefix, *sys.path]
    places: dict[str, list[str]] = json.loads(named)
    is_shut_off = shut_off([*system, *places["readable"]], [str(Path.cwd()), *places["writable"]])
    try:
        module, _, attribute = target.partition(":")
        function = attrgetter(attribute)(importlib.import_module(module))
    except BaseException as error:
        reply({"error": describe(error)})
        return
    reply({"rewards": [], "is_shut_off": is_shut_off})
    for call in calls:
        try:
            reply({"rewards": [float(reward) for reward in function(**json.loads(call))]})
        except Exception as error:
            reply({"error": describe(error)})


def find_landlock() -> int:
    """Find the version of Landlock; 0 where there is none."""
    return int(max(LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ONLY_VERSION), 0))


def shut_off(readable: Iterable[str], writable: Iterable[str]) -> bool:
    """Leave this process these paths to read, and these to write; returns whether the system can do that."""
    version = find_landlock()
    if not version:
        return False
    rights = RIGHTS_BY_VERSION.get(version, ALL_RIGHTS)
    words = (ctypes.c_uint64 * 3)(rights, 0, SCOPES)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = LIBC.syscall(CREATE_RULESET, words, ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    for path in readable:
        allow(rules, path, RUN | READ | LIST)
    for path in DEVICES:
        allow(rules, path, READ | WRITE)
    for path in writable:
        allow(rules, path, rights)
    LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    LIBC.capset((ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)())
    is_shut_off = bool(LIBC.syscall(RESTRICT_SELF, rules, 0) == 0)
    os.close(rules)
    return is_shut_off


def allow(rules: int, path: str, rights: int) -> None:
    """Add a rule for what is at the path and beneath it; none where nothing is."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not Path(path).is_dir():
        rights &= RUN | READ | WRITE
    rule = rights.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
    LIBC.syscall(ADD_RULE, rules, RULE_BENEATH, rule, 0)
    os.close(place)


def describe(error: BaseException) -> str:
    """Name the error in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


if __name__ == "__main__":
    main(*sys.argv[1:])
