"""One queue for each kind of device."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.trainer.domain.recipe.parsing import parse_recipe
from services.trainer.settings import TrainerSettings
from services.trainer.tasks import list_queues, make_enqueue
from shared.celery_app import create_celery
from shared.errors import InvalidRequest
from shared.settings import Settings


def make_settings() -> Settings:
    return Settings(redis_url="memory://", topic_prefix="t1.")


def take(app: Any, queues: list[str]) -> list[tuple[str, str | None]]:
    """What waits in the queues, as (queue, kind of device)."""
    found = []
    with app.connection_for_read() as connection:
        for name in queues:
            queue = connection.SimpleQueue(name)
            while True:
                try:
                    message = queue.get_nowait()
                except queue.Empty:
                    break
                message.ack()
                found.append((name, message.payload[1]["device"]))
            queue.close()
    return found


def test_a_run_waits_where_a_worker_with_its_device_looks():
    settings = make_settings()
    app = create_celery(settings)
    enqueue = make_enqueue(app, settings)
    enqueue(None)
    enqueue("h100")
    enqueue("a10")
    worker = list_queues(settings, "gpu,h100")
    assert worker == ["t1.training", "t1.training.gpu", "t1.training.h100"]
    assert take(app, worker) == [("t1.training", None), ("t1.training.h100", "h100")]
    assert take(app, ["t1.training.a10"]) == [("t1.training.a10", "a10")]


def test_a_worker_of_no_named_kind_takes_runs_that_ask_for_none():
    assert list_queues(make_settings(), "") == ["t1.training"]


def test_kinds_are_plain_names():
    sft = {"name": "a", "method": "sft", "max_steps": 1}
    assert parse_recipe(sft | {"device": "h100"}).device == "h100"
    for device in ("", "H 100", "a,b"):
        with pytest.raises(InvalidRequest, match="device"):
            parse_recipe(sft | {"device": device})
    assert TrainerSettings(devices="cpu,h100").devices == "cpu,h100"
    with pytest.raises(ValidationError):
        TrainerSettings(devices="cpu,,H100")
