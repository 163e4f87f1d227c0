"""`heliotrope topics`: make the topics, set them, say or grant the rights to them, set groups back."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table

from cli.broker import Broker, find_broker
from cli.database import record_if_reached
from cli.errors import clear_errors
from local.errors import StackFailed
from local.topics import load_plans
from shared.bus.access import SERVICES, list_read_topics, name_group
from shared.bus.acls import grant, list_rights
from shared.bus.limits import open_admin
from shared.bus.rewinding import find_offsets, is_in_use, keep_back, set_offsets
from shared.bus.topics import BROKER_DEFAULT, apply_plans, ensure_topics, find_differences

app = typer.Typer(help="Make the topics, set them, say or grant the rights to them, set consumer groups back.")
console = Console(soft_wrap=True, highlight=False)

Partitions = Annotated[int, typer.Option(min=-1, help="Of each topic that is made; -1 takes the broker's default.")]
Replicas = Annotated[int, typer.Option(min=-1, help="Copies of each topic that is made; -1 likewise.")]
PATIENCE_SECONDS = 30.0
READERS = [service for service, access in SERVICES.items() if access.reads]


@app.callback(invoke_without_command=True)
def topics(
    context: typer.Context,
    partitions: Partitions = BROKER_DEFAULT,
    replicas: Replicas = BROKER_DEFAULT,
    set_existing: Annotated[
        bool, typer.Option("--set", help="Set existing topics as planned too: shorter retention deletes records.")
    ] = False,
    acls: Annotated[
        bool, typer.Option("--acls", help="Print the rights that each service needs; make nothing.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="With --acls: grant them.")] = False,
    user_prefix: Annotated[str, typer.Option(help="Before a service's name it makes its Kafka user.")] = "",
) -> None:
    """Make the topics that do not exist yet on the Kafka that the environment names, with retention and size limits."""
    if context.invoked_subcommand is not None:
        return
    if apply and not acls:
        raise typer.BadParameter("--apply goes with --acls")
    with clear_errors():
        broker = find_broker()
        if acls:
            show_acls(broker, apply=apply, user_prefix=user_prefix)
        else:
            make_topics(broker, partitions, replicas, set_existing=set_existing)


def make_topics(broker: Broker, partitions: int, replicas: int, *, set_existing: bool = False) -> None:
    """Raises: StackFailed: a topic could not be made or set."""
    admin, plans = open_admin(broker.bootstrap_servers, broker.security), load_plans(broker.topic_prefix)
    try:
        made = ensure_topics(admin, plans, partitions=partitions, replicas=replicas)
        differences = find_differences(admin, [plan for plan in plans if plan.name not in made])
        if set_existing:
            apply_plans(admin, differences)
    except KafkaException as error:
        raise StackFailed(f"Kafka says: {error.args[0].str()}") from error
    console.print(f"Every topic exists; {len(made)} were made.")
    for each in differences:
        done = "is now" if set_existing else "should be"
        console.print(f"{each.topic}: {each.setting} was {each.found}, {done} {each.planned}", markup=False)
    if differences and not set_existing:
        console.print("Nothing was changed: heliotrope topics --set does it.")


def show_acls(broker: Broker, *, apply: bool, user_prefix: str) -> None:
    """Print the rights, and grant them if asked to. Raises: StackFailed: Kafka does not grant them."""
    rights = list_rights(broker.topic_prefix)
    table = Table("principal", "resource", "name", "operation")
    for right in rights:
        table.add_row(f"User:{user_prefix}{right.service}", right.resource, right.name, right.operation)
    console.print(table)
    if apply:
        grant_acls(broker, user_prefix)


def grant_acls(broker: Broker, user_prefix: str = "") -> None:
    """Raises: StackFailed: Kafka does not grant them."""
    rights, admin = list_rights(broker.topic_prefix), open_admin(broker.bootstrap_servers, broker.security)
    try:
        admin.reach(PATIENCE_SECONDS)
        grant(admin, rights, user_prefix)
    except KafkaException as error:
        raise StackFailed(f"Kafka says: {error.args[0].str()}") from error
    console.print(f"{len(rights)} rights are granted.")


@app.command()
def rewind(
    to: Annotated[datetime, typer.Option("--to", help="The time of the backup, in UTC.")],
    consumer: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(READERS)}; without it, all.")] = None,
    margin_seconds: Annotated[
        float, typer.Option(min=0, help="So much earlier: more than any consumer was behind at that time.")
    ] = 900,
) -> None:
    """Set consumer groups back to a time, after a database was restored to it: what it lacks is consumed again, and
    what it has counts once. The services must be stopped."""
    at = (to if to.tzinfo else to.replace(tzinfo=UTC)) - timedelta(seconds=margin_seconds)
    with clear_errors():
        broker = find_broker()
        for service in consumer or READERS:
            if service not in READERS:
                raise StackFailed(f"{service} reads in no group; these do: {', '.join(READERS)}")
            again = rewind_group(broker, service, at)
            record_if_reached("rewind_group", service, {"to": at.isoformat(), "records": again})
            console.print(f"{service}: reads again from {at.isoformat(timespec='seconds')}, {again:,} records.")


def rewind_group(broker: Broker, service: str, at: datetime) -> int:
    """Return how many records the group has before it now. Raises: StackFailed."""
    topics, group = list_read_topics(service, broker.topic_prefix), name_group(service, broker.topic_prefix)
    admin = open_admin(broker.bootstrap_servers, broker.security)
    try:
        admin.reach(PATIENCE_SECONDS)
        places = find_offsets(broker.bootstrap_servers, topics, at, broker.security)
        ends = find_offsets(broker.bootstrap_servers, topics, datetime.now(UTC) + timedelta(days=365), broker.security)
        kept = keep_back(admin, group, places)
        if kept:
            set_offsets(admin, group, kept)
    except KafkaException as error:
        if is_in_use(error):
            raise StackFailed(f"{group} has members: stop {service} first") from error
        raise StackFailed(f"{group}: Kafka says: {error.args[0].str()}") from error
    begun = {(place.topic, place.partition) for place in kept}
    return sum(end.offset for end in ends if (end.topic, end.partition) in begun) - sum(place.offset for place in kept)
