"""The port of a server is taken when the stack starts, or when the server comes back."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from local.errors import StackFailed
from local.layout import OFFSETS
from local.stack.stack import Stack
from local.supervision.leftovers import find_leftovers
from tests.faults.saboteur import Saboteur, wait_until

NAMES = sorted(set(OFFSETS) - {"supervisor", "chat-page"})
"""Processes of the stack. The supervisor is asked whether it is ours, and something else serves the chat page."""


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        holder.listen()
        yield


def can_take(port: int) -> bool:
    try:
        with taken(port):
            return True
    except OSError:
        return False


def test_every_taken_port_is_named_with_what_it_is_for_and_who_has_it(make_stack: Callable[..., Stack]):
    stack = make_stack()
    with contextlib.ExitStack() as ports:
        for name in NAMES:
            ports.enter_context(taken(stack.layout.port(name)))
        with pytest.raises(StackFailed) as failure:
            stack.up()
    for name in NAMES:
        assert f"{stack.layout.port(name)} (for {name}; " in str(failure.value)
    assert f"pid {os.getpid()}, has it" in str(failure.value)
    assert "HELIOTROPE_PORT_BASE" in str(failure.value)
    assert find_leftovers(stack.layout.home) == []


def test_a_server_whose_port_was_taken_while_it_was_down_comes_back_when_the_port_is_free(
    make_stack: Callable[..., Stack],
):
    stack = make_stack(only=("postgres", "valkey"))
    stack.up()
    saboteur = Saboteur(stack)
    with contextlib.ExitStack() as theft:
        victim, port = saboteur.find("valkey"), stack.layout.port("valkey")
        with saboteur.stopped("supervisor", alone=True):
            victim.kill()
            wait_until(lambda: can_take(port), "the port is free", 5)
            theft.enter_context(taken(port))
        wait_until(lambda: not saboteur.is_up("valkey"), "valkey notices", 10)
        problem = next(health.problem for health in stack.list_health() if health.name == "valkey")
        assert problem
    saboteur.wait_until_ready("valkey", other_than=victim.pid, seconds=15)
