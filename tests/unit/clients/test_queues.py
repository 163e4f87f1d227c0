"""The Python client's queues: in memory and in a file, the same promises."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from heliotrope_client import Event, Interaction, QueueFull, choice, edit, retract, thumb
from heliotrope_client.items import Item
from heliotrope_client.queues import DiskQueue, MemoryQueue, Queue

Open = Callable[..., Queue]


@pytest.fixture(params=["memory", "disk"])
def open_queue(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    def open_queue(max_items: int = 10, max_bytes: int = 100_000) -> Queue:
        if request.param == "memory":
            return MemoryQueue(max_items, max_bytes)
        return DiskQueue(tmp_path / "queue.sqlite", max_items, max_bytes)

    return open_queue


def make_interaction(answer: str = "On its way.") -> Interaction:
    return Interaction([{"role": "user", "content": "Where is it?"}], answer, "gpt", "ada", metadata={"a": 1})


def test_items_come_out_as_they_went_in_until_they_are_removed(open_queue: Open):
    queue = open_queue()
    first = thumb("a", "up", user_id="ada", metadata={"page": 1})
    items: list[Item] = [first, choice(["a", "b"], "b"), edit("a", "better"), retract(first)]
    for item in items:
        queue.add(item)
    assert queue.peek() == queue.peek() == items
    queue.remove(items[:2])
    assert queue.peek() == items[2:]
    assert queue.count() == 2
    queue.close()


def test_an_item_that_is_there_is_kept_once(open_queue: Open):
    queue = open_queue()
    event = thumb("a", "up")
    queue.add(event)
    queue.add(event)
    assert queue.peek() == [event]


def test_what_goes_together_is_of_one_kind(open_queue: Open):
    queue = open_queue()
    items: list[Item] = [make_interaction(), make_interaction(), thumb("a", "up"), make_interaction()]
    for item in items:
        queue.add(item)
    assert queue.peek() == items[:2]
    queue.remove(items[:2])
    assert queue.peek() == items[2:3]


@pytest.mark.parametrize("bound", [{"max_items": 3}, {"max_bytes": 700}], ids=["items", "bytes"])
def test_a_full_queue_says_so_and_keeps_what_it_has(open_queue: Open, bound: dict[str, Any]):
    queue = open_queue(**bound)
    events = [thumb("a", "up") for _ in range(3)]
    for event in events:
        queue.add(event)
    with pytest.raises(QueueFull):
        queue.add(edit("a", "x" * 500))
    assert queue.peek() == events
    queue.remove(events)
    queue.add(edit("a", "x" * 100))


def test_a_file_outlives_the_process_and_is_shared(tmp_path: Path):
    path = tmp_path / "queue.sqlite"
    one, other = DiskQueue(path, 100, 100_000), DiskQueue(path, 100, 100_000)
    threads = [threading.Thread(target=lambda q=q: [q.add(thumb("a", "up")) for _ in range(20)]) for q in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.close()
    other.close()
    again = DiskQueue(path, 100, 100_000)
    assert again.count() == 40
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    again.close()


def test_an_interaction_is_restored_whole():
    interaction = make_interaction()
    assert Interaction.restore(interaction.content()) == interaction
    event = thumb("a", "up", user_id="ada")
    assert Event.restore(event.content()) == event
