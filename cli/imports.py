"""`heliotrope import`: preference data that a team already has becomes evidence like any other."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid5

import typer
from rich.console import Console

from cli.broker import find_broker, find_user_hash_secret
from cli.errors import clear_errors
from local.errors import StackFailed
from shared.bus import encode
from shared.bus.kafka import KafkaBusProducer
from shared.events import IMPORT_KEY_ID, Choice, FeedbackReceived, InteractionRecorded, Message
from shared.ids import calculate_user_hash

NAMESPACE = UUID("6f1b2a4e-4c1d-5b0a-9d3e-2f7c8a1e5b60")
"""Of the ids that follow from content."""
ACK_DEADLINE_SECONDS = 30.0
IN_FLIGHT = 2_000

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSONL or Parquet: prompt, chosen, rejected.")]
Source = Annotated[str, typer.Option(help="Where it comes from, kept with every row. Default: the file's name.")]
Collected = Annotated[datetime | None, typer.Option(help="When it was collected. Default: 1 January 2000.")]

console = Console(soft_wrap=True, highlight=False)


def read_rows(file: Path) -> Iterator[Mapping[str, Any]]:
    """Rows of a JSONL or Parquet file.

    Raises:
        StackFailed: it is neither, or a line is no JSON object.
    """
    if file.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(1000):
            yield from batch.to_pylist()
        return
    if file.suffix not in (".jsonl", ".ndjson"):
        raise StackFailed(f"{file.name} is neither .jsonl nor .parquet")
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _parse(line, number)


def _parse(line: str, number: int) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        raise StackFailed(f"line {number} is not JSON") from None
    if not isinstance(row, dict):
        raise StackFailed(f"line {number} is not an object with prompt, chosen and rejected")
    return row


def derive_events(
    row: Mapping[str, Any], number: int, *, source: str, at: datetime, secret: str = ""
) -> tuple[InteractionRecorded, InteractionRecorded, FeedbackReceived]:
    """Two answers and the choice between them, under ids that follow from their content: importing the same row again
    changes nothing, and the rules, splits, caps and redaction treat it as they treat any evidence.

    `prompt` is a text or messages; `chosen` and `rejected` are texts or messages of which the last one is the answer.
    `user_id` (or `user`), where there is one, is replaced by the same keyed hash as everywhere, so that caps,
    reliability and erasure know whose preference it is.

    Raises:
        StackFailed: a field is missing or of another shape.
    """
    messages = _read_prompt(row.get("prompt"), number)
    answers = [_read_answer(row.get(side), side, number) for side in ("chosen", "rejected")]
    user = _read_user(row, number, secret)
    said_by = [] if user is None else [user]
    content = json.dumps([source, messages, answers, *said_by], sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    chosen_id, rejected_id, event_id = (uuid5(NAMESPACE, f"{digest}:{part}") for part in ("chosen", "rejected", "said"))
    metadata = {"imported": {"source": source, "row": digest}}
    chosen, rejected = (
        InteractionRecorded(
            interaction_id=key,
            messages=messages,
            answer=answer,
            model_version=f"imported:{source}",
            served_at=at,
            key_id=IMPORT_KEY_ID,
            user=user,
            metadata=metadata,
        )
        for key, answer in zip((chosen_id, rejected_id), answers, strict=True)
    )
    order = sorted([chosen_id, rejected_id])  # unknown, and so without a bias of its own
    choice = Choice(other_interaction_id=rejected_id, presented_order=order, preferred_interaction_id=chosen_id)
    said = FeedbackReceived(
        event_id=event_id,
        interaction_id=chosen_id,
        feedback=choice,
        received_at=at,
        occurred_at=at,
        key_id=IMPORT_KEY_ID,
        user=user,
        metadata=metadata,
    )
    return chosen, rejected, said


def _read_user(row: Mapping[str, Any], number: int, secret: str) -> str | None:
    """The keyed hash of a row's user; None for a row without one."""
    name = "user_id" if row.get("user_id") is not None else "user"
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise StackFailed(f"row {number}: {name} must be a text or a whole number")
    if not secret:
        raise StackFailed(f"row {number} has a {name}: set HELIOTROPE_USER_HASH_SECRET to the deployment's secret")
    return calculate_user_hash(str(value), None, secret)


def _read_prompt(value: object, number: int) -> list[Message]:
    if isinstance(value, str) and value.strip():
        return [{"role": "user", "content": value}]
    if isinstance(value, list) and value and all(isinstance(message, dict) for message in value):
        return [dict(message) for message in value]
    raise StackFailed(f"row {number}: prompt must be a text or a list of messages")


def _read_answer(value: object, side: str, number: int) -> str:
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    if isinstance(value, str) and value.strip():
        return value
    raise StackFailed(f"row {number}: {side} must be a text, or messages that end with one")


def import_file(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JSONL or Parquet: prompt, chosen, rejected.")
    ],
    source: Annotated[
        str, typer.Option(help="Where it comes from; kept with every row. Default: the file's name.")
    ] = "",
    at: Annotated[datetime | None, typer.Option(help="When it was collected. Default: 1 January 2000.")] = None,
) -> None:
    """Import preference pairs, with their users where a row has a user_id. Importing the same rows again changes
    nothing."""
    with clear_errors():
        broker = find_broker()
        secret = find_user_hash_secret()
        when = (at or datetime(2000, 1, 1)).replace(tzinfo=UTC)  # noqa: DTZ001 - typer's datetimes have no zone
        rows = [
            derive_events(row, number, source=source or file.stem, at=when, secret=secret)
            for number, row in enumerate(read_rows(file), 1)
        ]
        producer = KafkaBusProducer(
            broker.bootstrap_servers,
            client_id="heliotrope-import",
            deadline_seconds=ACK_DEADLINE_SECONDS,
            security=broker.security,
        )
        try:
            for start in range(0, len(rows), IN_FLIGHT):
                part = [event for events in rows[start : start + IN_FLIGHT] for event in events]
                records = [encode(event, source="import", topic_prefix=broker.topic_prefix) for event in part]
                for stored in [producer.send(record) for record in records]:
                    stored.result(ACK_DEADLINE_SECONDS)
        finally:
            producer.close(ACK_DEADLINE_SECONDS)
    console.print(f"{len(rows):,} rows of {file.name} sent; the curator makes pairs of them.", markup=False)
