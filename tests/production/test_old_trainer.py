"""Tournaments on one database with release 0.1.0's trainer: both queue runs of the same requests, at the same time."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

from shared.bus import encode
from shared.events import RetrainRequested
from tests.integration.trainer.scene import make_request, request

pytestmark = [pytest.mark.ops, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
RELEASE = "b6aa979"
"""Release 0.1.0; its tag may be missing in a clone."""
REQUESTS = 60
BOTH = ["support_bot", "careful_bot"]
QUEUE_AS_RELEASED = """
import sys
import msgspec
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker
from services.trainer.consumer import RetrainHandler
from services.trainer.domain.recipe import parse_recipe
from services.trainer.repository import list_open_runs
from shared.events import RetrainRequested

sessions = sessionmaker(create_engine(sys.argv[1]), expire_on_commit=False)
handler = RetrainHandler(lambda name: parse_recipe({"name": name, "method": "dpo", "max_steps": 4}), "support_bot", "")
print("ready", flush=True)
for line in sys.stdin:
    event = msgspec.json.decode(line, type=RetrainRequested)
    with sessions() as session, session.begin():
        handler.handle(session, event)
with sessions() as session:
    print(len(list_open_runs(session)))
"""


def encode_as_released(event: RetrainRequested) -> bytes:
    """Encode as release 0.1.0 reads it: it knows reasons by `words`, and passes over fields that it does not."""
    return encode(event, source="curator").value.replace(b'"summary"', b'"words"')


@pytest.fixture
def released(tmp_path: Path) -> Path:
    archive = subprocess.run(["git", "archive", RELEASE], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(tmp_path / "released", filter="data")
    return tmp_path / "released"


def test_both_releases_queue_the_same_requests_and_no_run_is_there_twice(released: Path, database_url: str) -> None:
    engine = create_engine(database_url)
    sessions = sessionmaker(engine, expire_on_commit=False)
    single = [make_request() for _ in range(REQUESTS)]
    several = [make_request(recipe=BOTH[0], recipes=BOTH) for _ in range(REQUESTS)]
    events: list[RetrainRequested] = [event for pair in zip(single, several, strict=True) for event in pair]
    old = subprocess.Popen(
        [sys.executable, "-c", QUEUE_AS_RELEASED, database_url],
        cwd=released,
        env={**os.environ, "PYTHONPATH": str(released)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert old.stdin is not None
    assert old.stdout is not None
    with old:
        assert old.stdout.readline() == b"ready\n"
        old.stdin.write(b"".join(encode_as_released(event) + b"\n" for event in events))
        old.stdin.flush()
        for event in reversed(events):  # they meet half-way
            request(sessions, event)
        old.stdin.close()
        seen = int(old.stdout.read().splitlines()[-1])  # below its log
    assert old.returncode == 0
    with engine.connect() as connection:
        query = text(
            "SELECT retrain_request_id, array_agg(recipe_name ORDER BY recipe_position),"
            " bool_or(request_id = retrain_request_id AND recipe_position = 0) FROM trainer.runs GROUP BY 1"
        )
        found = {row[0]: row[1] for row in connection.execute(query) if row[2]}
    engine.dispose()
    assert found == {event.request_id: BOTH[:1] for event in single} | {event.request_id: BOTH for event in several}
    assert seen == len(single) + 2 * len(several), "release 0.1.0 reads every run, to wake its workers for it"
