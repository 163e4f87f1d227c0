"""`heliotrope dead-letters`: what consumers put aside, why, and handing it to them again."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.broker import Broker, find_broker
from cli.errors import clear_errors
from local.errors import StackFailed
from shared.bus import Record
from shared.bus.kafka import KafkaBusConsumer, KafkaBusProducer
from shared.dead_letters import ACK_DEADLINE_SECONDS, dead_letter_topic, list_dead_letter_topics, read_all, restore

app = typer.Typer(help="What consumers could not handle: list it, look at it, hand it back.", no_args_is_help=True)
console = Console(soft_wrap=True, highlight=False)

SHOWN_BYTES = 2_000
SHOWN_REASON = 200

Topic = Annotated[str, typer.Argument(help="As it is called without prefix: feedback.received, ...")]
Places = Annotated[list[str] | None, typer.Option("--at", help="Only PARTITION:OFFSET, as shown; may be repeated.")]
Of = Annotated[str, typer.Option("--consumer", help="Who put it aside: curator, deployer, ...")]


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
    """At most `limit` bytes of it, with everything escaped that a terminal could act on."""
    raw = content.encode(errors="replace") if isinstance(content, str) else content
    text = raw[:limit].decode("utf-8", errors="backslashreplace")
    safe = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    return safe + (f" ... ({len(raw):,} bytes in all)" if len(raw) > limit else "")


@app.command("list")
def list_letters() -> None:
    """Count them by topic, consumer and reason."""
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
    console.print(table if table.row_count else "There are no dead letters.")


@app.command("show")
def show(topic: Topic, consumer: Of, limit: Annotated[int, typer.Option(min=1, max=1000)] = 10) -> None:
    """Print some, oldest first: where it was, why it was put aside, and its bytes, escaped and cut."""
    with clear_errors():
        broker = find_broker()
        prefix = broker.topic_prefix
        with reading(broker, dead_letter_topic(prefix + topic, consumer)) as letters:
            for letter, _ in zip(letters, range(limit), strict=False):
                console.print(_describe(letter), markup=False)


@app.command("replay")
def replay(
    topic: Topic,
    consumer: Of,
    at: Annotated[
        list[str] | None, typer.Option("--at", help="Only PARTITION:OFFSET, as shown; may be repeated.")
    ] = None,
) -> None:
    """Send them to their topic again, as they were. Consumers are idempotent: those who handled one already lose
    nothing, and handing back twice is harmless."""
    wanted = set(at or [])
    with clear_errors():
        broker = find_broker()
        prefix = broker.topic_prefix
        producer = KafkaBusProducer(
            broker.bootstrap_servers, client_id="heliotrope-dead-letters", security=broker.security
        )
        sent = 0
        try:
            with reading(broker, dead_letter_topic(prefix + topic, consumer)) as letters:
                for letter in letters:
                    if not wanted or _name_place(letter) in wanted:
                        producer.send(restore(letter)).result(timeout=ACK_DEADLINE_SECONDS)
                        sent += 1
        finally:
            producer.close(ACK_DEADLINE_SECONDS)
        if wanted and not sent:
            raise StackFailed(f"no dead letter of {topic} by {consumer} was at {', '.join(sorted(wanted))}")
    console.print(f"{sent:,} sent to {topic} again.")


def _name_place(letter: Record) -> str:
    return f"{letter.headers.get('dlq_partition')}:{letter.headers.get('dlq_offset')}"


def _read_reason(letter: Record) -> str:
    return letter.headers.get("dlq_reason", "no reason given")


def _describe(letter: Record) -> str:
    reason = make_printable(_read_reason(letter), SHOWN_REASON)
    when = make_printable(letter.headers.get("dlq_at", ""), SHOWN_REASON)
    key = make_printable(letter.key, SHOWN_REASON)
    place = make_printable(_name_place(letter), SHOWN_REASON)
    return f"{place}  {when}  {reason}\n  key    {key}\n  value  {make_printable(letter.value, SHOWN_BYTES)}"
