"""`heliotrope dead-letters` against a real broker."""

import pytest
from typer.testing import CliRunner

from cli.dead_letters import make_printable
from cli.main import app
from shared.bus import Record
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer
from shared.dead_letters import DeadLetters, read_all

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


def test_what_is_printed_is_bounded_and_has_no_control_characters():
    assert make_printable(b"ok \x1b[2J\n\xe2\x80\xae", 100) == "ok \\x1b[2J\\n\\u202e"
    assert make_printable(b"x" * 50, 10) == "x" * 10 + " ... (50 bytes in all)"
