"""Imports through a real broker: killed in the middle and gone on with, and refused once taken back."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from bench.import_files import SOURCES
from cli.exchange.events import Import
from shared.bus import decode, encode
from shared.bus.kafka import KafkaBusConsumer, create_topics
from shared.dead_letters import read_all
from shared.user_hashes import UserHashes
from tests.unit.exchange.reading_files import read_files

ROOT = Path(__file__).parents[3]
ROWS = 6_000
"""Three batches of events or more, whatever the source."""
ENOUGH_SECONDS = 200.0
SECRET = "a secret of sixteen"


@pytest.fixture
def environment(kafka_bootstrap: str, topic_prefix: str, database_url: str, tmp_path: Path) -> dict[str, str]:
    create_topics(kafka_bootstrap, topic_prefix=topic_prefix)
    return os.environ | {
        "HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "HELIOTROPE_TOPIC_PREFIX": topic_prefix,
        "HELIOTROPE_DATABASE_URL": database_url,
        "HELIOTROPE_USER_HASH_SECRET": SECRET,
        "HELIOTROPE_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }


def write(source: str, folder: Path) -> Path:
    name, writer = SOURCES[source]
    writer(folder / name, ROWS)
    return folder / name


def start(environment: dict[str, str], source: str, file: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "cli.main", "import", source, str(file), "--name", "spring", "--json"]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_checkpoint(home: Path) -> None:
    give_up_at = time.monotonic() + ENOUGH_SECONDS
    while not list(home.glob("imports/*.json")):
        assert time.monotonic() < give_up_at, "nothing was stored"
        time.sleep(0.02)


def count_events(bootstrap: str, prefix: str) -> Counter[str]:
    topics = [f"{prefix}interaction.recorded", f"{prefix}feedback.received"]
    consumer = KafkaBusConsumer(bootstrap, topics, None, client_id="test")
    counts = Counter(decode(record).identity for record in read_all(consumer))
    consumer.close()
    return counts


def list_acts(database_url: str) -> list[dict[str, Any]]:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT action, subject, detail FROM access.acts ORDER BY at"))
        acts = [dict(row._mapping) for row in found]
    engine.dispose()
    return acts


def list_events(source: str, file: Path) -> set[str]:
    """What an undisturbed import would send."""
    about = Import("spring", source, datetime(2000, 1, 1, tzinfo=UTC), UserHashes(SECRET))
    found, _ = read_files(source, [file])
    return {decode(encode(event, source="import")).identity for event in about.derive_events(found)}


@pytest.mark.parametrize("source", SOURCES)
def test_a_killed_import_goes_on_and_nothing_is_missing(
    source: str, environment: dict[str, str], tmp_path: Path, kafka_bootstrap: str, topic_prefix: str
) -> None:
    file = write(source, tmp_path)
    first = start(environment, source, file)
    wait_for_checkpoint(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    [checkpoint] = tmp_path.glob("imports/*.json")
    assert 0 < json.loads(checkpoint.read_text())["record"] < ROWS

    said, errors = start(environment, source, file).communicate(timeout=ENOUGH_SECONDS)
    report = json.loads(said)
    assert report["resumed_after_record"] >= 1, errors
    assert report["records"] < ROWS
    assert not checkpoint.exists()
    assert set(count_events(kafka_bootstrap, topic_prefix)) == list_events(source, file)
    begun, again, ended = list_acts(environment["HELIOTROPE_DATABASE_URL"])
    assert (begun["action"], again["action"], ended["action"]) == ("begin_import", "begin_import", "end_import")
    assert {act["subject"] for act in (begun, again, ended)} == {"spring"}
    assert begun["detail"] == {"tool": source, "files": 1, "api": None, "after_record": 0}
    assert ended["detail"]["records"] == report["records"]


def test_a_name_that_was_taken_back_is_refused_before_anything_is_sent(
    environment: dict[str, str], tmp_path: Path, kafka_bootstrap: str, topic_prefix: str
) -> None:
    engine = create_engine(environment["HELIOTROPE_DATABASE_URL"])
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO curator.import_withdrawals (withdrawal_id, name, state, requested_by)"
                " VALUES (gen_random_uuid(), 'spring', 'done', 'admin')"
            )
        )
    engine.dispose()
    refused = start(environment, "pairs", write("pairs", tmp_path))
    _, errors = refused.communicate(timeout=ENOUGH_SECONDS)
    assert refused.returncode == 1
    assert "was taken back" in errors
    assert count_events(kafka_bootstrap, topic_prefix) == {}
