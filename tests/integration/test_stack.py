"""The embedded stack with its three quick servers: what `up` and `down` promise."""

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis

from local.connections import EXISTING
from local.errors import StackFailed
from local.servers.postgres import create_database
from local.stack.stack import Stack
from local.supervision.leftovers import find_leftovers

STORES = ("postgres", "valkey", "broker")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in EXISTING.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def make_stack(find_port_base: Callable[[], int], environment: None) -> Iterator[Callable[..., Stack]]:
    """Makes stacks whose homes hold what breaks careless quoting."""
    root = Path(tempfile.mkdtemp(prefix="heliotrope tests "))
    root.chmod(0o755)  # as root, Postgres may have to run as a user who must reach its folder
    made: list[Stack] = []

    def make(home: Path | None = None, **options: Any) -> Stack:
        stack = Stack(
            home or root / f"{len(made)} of 50%", find_port_base(), **{"only": STORES, "throwaway": True, **options}
        )
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.down()
    shutil.rmtree(root)


@pytest.fixture
def stack(make_stack: Callable[..., Stack]) -> Stack:
    return make_stack()


def write_row(stack: Stack) -> None:
    url = create_database(stack.connections.database_server_url, "kept").replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
        connection.execute("INSERT INTO notes VALUES ('still here')")


def read_rows(stack: Stack) -> list[str]:
    url = stack.secrets.database_url(stack.layout.port("postgres"), "kept").replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM notes")]


def wait_until_ready(stack: Stack, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while problems := [health.problem for health in stack.list_health() if not health.ready]:
        assert time.monotonic() < deadline, problems
        time.sleep(0.1)


def pids(stack: Stack) -> dict[str, int]:
    return {health.name: health.pid for health in stack.list_health()}


def test_a_second_up_changes_nothing_and_one_after_down_continues(stack: Stack):
    stack.up()
    write_row(stack)
    before = pids(stack)
    assert set(before) == set(STORES)
    stack.up()
    assert pids(stack) == before
    stack.down()
    assert find_leftovers(stack.layout.home) == []
    assert stack.list_health() == []
    stack.up()
    assert read_rows(stack) == ["still here"]


def test_killed_servers_come_back_with_what_they_had(stack: Stack):
    stack.up()
    write_row(stack)
    with redis.Redis.from_url(stack.connections.redis_url) as queue:
        queue.set("note", "still here")
        time.sleep(1.1)  # it writes to disk every second
        before = pids(stack)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid) for pid in before.values() if psutil.pid_exists(pid)], timeout=10)
        wait_until_ready(stack)
        assert set(pids(stack).values()).isdisjoint(before.values())
        assert queue.get("note") == b"still here"
    assert read_rows(stack) == ["still here"]


def test_what_a_killed_supervisor_left_behind_is_found_and_stopped(stack: Stack):
    stack.up()
    write_row(stack)
    supervisor = psutil.Process(pids(stack)["valkey"]).parent()
    assert supervisor is not None
    supervisor.kill()
    supervisor.wait(5)
    assert find_leftovers(stack.layout.home)
    stack.up()
    assert read_rows(stack) == ["still here"]


def test_two_stacks_run_side_by_side(stack: Stack, make_stack: Callable[..., Stack]):
    other = make_stack()
    stack.up()
    other.up()
    write_row(stack)
    other.down()
    assert all(health.ready for health in stack.list_health())


def test_a_taken_port_is_named_with_the_setting_that_moves_it(stack: Stack):
    port = stack.layout.port("valkey")
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StackFailed) as failure:
        stack.up()
    assert f"port {port} (for valkey" in str(failure.value)
    assert "HELIOTROPE_PORT_BASE" in str(failure.value)
    assert find_leftovers(stack.layout.home) == []


def test_a_server_that_cannot_start_is_named_with_its_log_and_nothing_stays(stack: Stack):
    data = stack.layout.home / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    with pytest.raises(StackFailed) as failure:
        stack.up()
    assert "postgres" in str(failure.value)
    assert str(stack.layout.log("postgres")) in str(failure.value)
    assert "postgresql.conf" in str(failure.value), "the log's last lines are shown"
    assert find_leftovers(stack.layout.home) == []


def test_one_home_does_not_start_twice_on_different_ports(stack: Stack, find_port_base: Callable[[], int]):
    stack.up()
    with pytest.raises(StackFailed, match=f"already running, on ports from {stack.layout.port_base}"):
        Stack(stack.layout.home, find_port_base(), only=STORES).up()
    assert all(health.ready for health in stack.list_health())


def test_an_existing_server_is_used_and_not_started(stack: Stack, make_stack: Callable[..., Stack]):
    stack.up()
    environment = {"HELIOTROPE_REDIS_URL": stack.connections.redis_url}
    guest = make_stack(only=("valkey", "broker"), environment=environment)
    assert [process.name for process in guest.processes] == ["broker"]
    assert guest.environment["HELIOTROPE_REDIS_URL"] == stack.connections.redis_url


def test_secrets_are_for_their_owner_only(stack: Stack):
    stack.up()
    for name in ("secrets.json", "supervisord.conf", "valkey/valkey.conf"):
        assert (stack.layout.home / name).stat().st_mode & 0o777 == 0o600, name
    for health in stack.list_health():
        arguments = " ".join(psutil.Process(health.pid).cmdline())
        assert stack.secrets.valkey_password not in arguments
        assert stack.secrets.postgres_password not in arguments
