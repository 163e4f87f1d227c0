"""`heliotrope dead-letters` against a real broker."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from cli.dead_letters import make_printable
from cli.main import app
from services.gateway.adapters.spool import Spool
from shared.bus import Record
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer
from shared.dead_letters import DeadLetters, read_all
from shared.tables.trainer import Refused

HOSTILE = b'{"text": "\x1b]0;owned\x07 \xff and \x00"}' + b"x" * 5_000


def test_letters_are_listed_shown_safely_and_replayed(
    kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("HELIOTROPE_TOPIC_PREFIX", topic_prefix)
    original = Record(f"{topic_prefix}feedback.received", b"key", HOSTILE, {"ce_id": "1"}, partition=2, offset=7)
    producer = KafkaBusProducer(kafka_bootstrap, client_id="test")
    DeadLetters(producer, "curator").put(original, "UndecodableEvent [red]\x1b[31m")
    producer.close(5)
    run = CliRunner().invoke
    listed = run(app, ["dead-letters", "list"])
    assert listed.exit_code == 0
    assert "feedback.received" in listed.stdout
    shown = run(app, ["dead-letters", "show", "feedback.received", "--consumer", "curator"])
    assert "2:7" in shown.stdout
    assert "\\x1b]0;owned\\x07 \\xff and \\x00" in shown.stdout
    assert "bytes in all" in shown.stdout
    assert "\x1b" not in shown.stdout + listed.stdout
    nothing = run(app, ["dead-letters", "replay", "feedback.received", "--consumer", "curator", "--at", "0:0"])
    assert nothing.exit_code == 1
    replayed = run(app, ["dead-letters", "replay", "feedback.received", "--consumer", "curator", "--at", "2:7"])
    assert replayed.exit_code == 0
    reader = KafkaBusConsumer(kafka_bootstrap, [original.topic], None, client_id="test")
    [record] = read_all(reader)
    reader.close()
    assert (record.key, record.value, record.headers) == (b"key", HOSTILE, {"ce_id": "1"})


def put_aside_by_the_outbox(database_url: str, record: Record) -> None:
    engine = create_engine(database_url)
    with Session(engine) as session, session.begin():
        copy = {"topic": record.topic, "key": record.key, "value": record.value, "headers": record.headers}
        session.add(Refused(**copy, created_at=datetime.now(UTC), reason="too large [red]\x1b[31m"))
    engine.dispose()


def put_aside_by_the_spool(folder: Path, record: Record) -> None:
    spool = Spool(folder / "spool.sqlite", max_rows=10, max_bytes=100_000)
    spool.start()
    spool.put([record]).result(5)
    spool.put_aside(spool.read(10), ["too large"]).result(5)
    spool.close()


def test_what_relays_put_aside_is_listed_shown_and_handed_back_once(
    kafka_bootstrap: str, topic_prefix: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HELIOTROPE_KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("HELIOTROPE_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("HELIOTROPE_DATABASE_URL", database_url)
    monkeypatch.setenv("HELIOTROPE_GATEWAY_STATE_DIR", str(tmp_path))
    completed = Record(f"{topic_prefix}training.completed", b"key", HOSTILE, {"ce_id": "1"})
    recorded = Record(f"{topic_prefix}interaction.recorded", b"key", b"{}", {"ce_id": "2"})
    put_aside_by_the_outbox(database_url, completed)
    put_aside_by_the_spool(tmp_path, recorded)
    run = CliRunner().invoke
    listed = run(app, ["dead-letters", "list"])
    assert "trainer-outbox" in listed.stdout
    assert "gateway-spool" in listed.stdout
    assert "\x1b" not in listed.stdout
    for topic, store, record in [
        ("training.completed", "trainer-outbox", completed),
        ("interaction.recorded", "gateway-spool", recorded),
    ]:
        assert "too large" in run(app, ["dead-letters", "show", topic, "--consumer", store]).stdout
        assert "1 sent" in run(app, ["dead-letters", "replay", topic, "--consumer", store]).stdout
        assert "0 sent" in run(app, ["dead-letters", "replay", topic, "--consumer", store]).stdout
        reader = KafkaBusConsumer(kafka_bootstrap, [record.topic], None, client_id="test")
        [sent] = read_all(reader)
        reader.close()
        assert (sent.key, sent.value, sent.headers) == (record.key, record.value, record.headers)
    assert "no dead letters" in run(app, ["dead-letters", "list"]).stdout


def test_what_is_printed_is_bounded_and_has_no_control_characters():
    assert make_printable(b"ok \x1b[2J\n\xe2\x80\xae", 100) == "ok \\x1b[2J\\n\\u202e"
    assert make_printable(b"x" * 50, 10) == "x" * 10 + " ... (50 bytes in all)"
