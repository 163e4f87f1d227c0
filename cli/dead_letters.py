"""`heliotrope dead-letters`: what consumers put aside, why, and handing it to them again."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from cli.broker import Broker, find_broker
from cli.database import record_if_reached
from cli.errors import clear_errors
from cli.refused import SPOOL, TABLES, Refused, find_stores
from local.errors import StackFailed
from shared.bus import Producer, Record
from shared.bus.kafka import KafkaBusConsumer
from shared.bus.librdkafka import LibrdkafkaBusProducer
from shared.bus.limits import open_admin
from shared.dead_letters import (
    ACK_DEADLINE_SECONDS,
    dead_letter_topic,
    is_loss,
    list_dead_letter_topics,
    read_all,
    restore,
)
from shared.errors import RecordRefused

app = typer.Typer(
    help="What consumers could not handle and what the broker refused: list it, look at it, hand it back.",
    no_args_is_help=True,
)
console = Console(soft_wrap=True, highlight=False)

SHOWN_BYTES = 2_000
SHOWN_REASON = 200

Topic = Annotated[str, typer.Argument(help="As it is called without prefix: feedback.received, ...")]
Of = Annotated[
    str, typer.Option("--consumer", help="Who put it aside: curator, deployer, ..., curator-outbox, gateway-spool.")
]


@contextmanager
def reading(broker: Broker, topic: str) -> Iterator[Iterator[Record]]:
    consumer = KafkaBusConsumer(
        broker.bootstrap_servers, [topic], None, client_id="heliotrope-dead-letters", security=broker.security
    )
    try:
        yield read_all(consumer)
    finally:
        consumer.close()


def make_printable(content: bytes | str, limit: int) -> str:
    """Return at most `limit` bytes of it, with everything escaped that a terminal could act on."""
    raw = content.encode(errors="replace") if isinstance(content, str) else content
    text = raw[:limit].decode("utf-8", errors="backslashreplace")
    safe = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return safe + (f" ... ({len(raw):,} bytes in all)" if len(raw) > limit else "")


@app.command("list")
def list_letters() -> None:
    """Count them by topic, by who put them aside, and by reason."""
    with clear_errors():
        broker = find_broker()
        prefix = broker.topic_prefix
        table = Table("topic", "consumer", "reason", "letters")
        for topic in list_dead_letter_topics(broker.bootstrap_servers, prefix, broker.security):
            with reading(broker, topic) as letters:
                reasons = Counter(make_printable(_read_reason(letter), SHOWN_REASON) for letter in letters)
            name, consumer = topic.removeprefix(prefix).removesuffix(".dlq").rsplit(".", 1)
            for reason, count in reasons.most_common():
                table.add_row(name, consumer, Text(reason), f"{count:,}")
        _add_refused(table, prefix)
    console.print(table if table.row_count else "There are no dead letters.")


def _add_refused(table: Table, prefix: str) -> None:
    for store in find_stores():
        try:
            kinds = Counter((each.record.topic, make_printable(each.reason, SHOWN_REASON)) for each in store.load())
        except (SQLAlchemyError, sqlite3.Error) as error:
            table.add_row("?", store.name, Text(f"cannot be read: {type(error).__name__}"), "?")
            continue
        for (topic, reason), count in kinds.most_common():
            table.add_row(topic.removeprefix(prefix), store.name, Text(reason), f"{count:,}")


@app.command("show")
def show(topic: Topic, consumer: Of, limit: Annotated[int, typer.Option(min=1, max=1000)] = 10) -> None:
    """Print some, oldest first: where it was, why it was put aside, and its bytes, escaped and cut."""
    with clear_errors():
        broker = find_broker()
        with opening(broker, topic, consumer) as (letters, _):
            for letter, _ in zip(letters, range(limit), strict=False):
                console.print(_describe(letter), markup=False)


@app.command("replay")
def replay(
    topic: Topic,
    consumer: Of,
    at: Annotated[list[str] | None, typer.Option("--at", help="Only this place, as shown; may be repeated.")] = None,
) -> None:
    """Send them to their topic again, as they were. Consumers are idempotent: those who handled one already lose
    nothing, and handing back twice is harmless."""
    wanted = set(at or [])
    with clear_errors():
        broker = find_broker()
        producer = LibrdkafkaBusProducer(
            broker.bootstrap_servers, client_id="heliotrope-dead-letters", security=broker.security
        )
        try:
            with opening(broker, topic, consumer) as (letters, forget):
                chosen = (letter for letter in letters if not wanted or _name_place(letter) in wanted)
                sent, refused = _send_again(producer, chosen, forget)
        finally:
            producer.close(ACK_DEADLINE_SECONDS)
        if wanted and not sent + refused:
            raise StackFailed(f"no dead letter of {topic} by {consumer} was at {', '.join(sorted(wanted))}")
        done = {"at": sorted(wanted) or "all", "sent": sent, "refused": refused}
        record_if_reached("replay_dead_letters", f"{topic} by {consumer}", done)
    console.print(f"{sent:,} sent to {topic} again.")
    if refused:
        console.print(f"{refused:,} stay: the broker still refuses them.")
        raise typer.Exit(1)


def _send_again(producer: Producer, letters: Iterable[Record], forget: Callable[[str], None]) -> tuple[int, int]:
    """(how many the broker has taken, how many it still refuses). What retention took cannot be sent."""
    sent = refused = 0
    for letter in letters:
        if is_loss(letter):
            continue
        try:
            producer.send(restore(letter)).result(timeout=ACK_DEADLINE_SECONDS)
            forget(_name_place(letter))
            sent += 1
        except RecordRefused:
            refused += 1
    return sent, refused


@contextmanager
def opening(broker: Broker, topic: str, consumer: str) -> Iterator[tuple[Iterator[Record], Callable[[str], None]]]:
    """Yield the letters of one topic that `consumer` put aside, and what to call once one has been handed back."""
    stores = {store.name: store for store in find_stores()}
    full_name = broker.topic_prefix + topic
    if consumer in stores:
        store = stores[consumer]
        letters = [_as_letter(refused) for refused in store.load() if refused.record.topic == full_name]
        yield iter(letters), lambda place: store.forget([place])
    elif consumer == SPOOL or consumer in TABLES:
        raise StackFailed(f"{consumer} cannot be reached from here: run this where its database or its volume is")
    else:
        open_admin(broker.bootstrap_servers, broker.security).reach(ACK_DEADLINE_SECONDS)  # says why it cannot be read
        with reading(broker, dead_letter_topic(full_name, consumer)) as found:
            yield found, lambda _: None


def _as_letter(refused: Refused) -> Record:
    record = refused.record
    own = {"dlq_reason": refused.reason, "dlq_at": refused.at, "dlq_topic": record.topic, "dlq_offset": refused.place}
    return Record(record.topic, record.key, record.value, record.headers | own)


def _name_place(letter: Record) -> str:
    partition, offset = letter.headers.get("dlq_partition"), letter.headers.get("dlq_offset")
    return f"{partition}:{offset}" if partition is not None else str(offset)


def _read_reason(letter: Record) -> str:
    return letter.headers.get("dlq_reason", "no reason given")


def _describe(letter: Record) -> str:
    reason = make_printable(_read_reason(letter), SHOWN_REASON)
    when = make_printable(letter.headers.get("dlq_at", ""), SHOWN_REASON)
    key = make_printable(letter.key, SHOWN_REASON)
    place = make_printable(_name_place(letter), SHOWN_REASON)
    return f"{place}  {when}  {reason}\n  key    {key}\n  value  {make_printable(letter.value, SHOWN_BYTES)}"
