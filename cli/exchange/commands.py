"""`heliotrope import`: what a team already has in another tool becomes evidence like any other."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.broker import find_broker, find_user_hash_secret
from cli.errors import clear_errors
from cli.exchange.dry_run import Preview
from cli.exchange.events import Import, SecretMissing
from cli.exchange.found import Options, Refused, Scale
from cli.exchange.ports import Importer
from cli.exchange.progress import Progress
from cli.exchange.registry import IMPORTERS, find_importer
from cli.exchange.reports import render
from cli.exchange.sending import ACK_DEADLINE_SECONDS, Checkpoint, Sender
from cli.exchange.tally import Tally
from cli.exchange.walking import Place, walk
from cli.exchange.withdrawals import refuse_withdrawn
from local.errors import StackFailed
from local.layout import find_home
from shared.bus.kafka import KafkaBusProducer

console = Console(soft_wrap=True, highlight=False)
NOTHING_SAID = datetime(2000, 1, 1, tzinfo=UTC)

SourceName = Annotated[str, typer.Argument(help=f"Where it comes from: {', '.join(IMPORTERS)}.")]
Files = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help=".json, .jsonl, .csv, .parquet; .gz.")]
Name = Annotated[str, typer.Option(help="Of the import, kept with every row. Default: the source.")]
At = Annotated[datetime | None, typer.Option(help="When what has no time was said. Default: 1 January 2000.")]
Scales = Annotated[list[str] | None, typer.Option("--scale", help="NAME=LOW:HIGH, of a score without a stated scale.")]
Columns = Annotated[list[str] | None, typer.Option("--column", help="FIELD=COLUMN, of a table.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is in it and what would become of it; send nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Job:
    importer: Importer
    files: Sequence[Path]
    about: Import
    options: Options


def import_files(
    source: SourceName,
    files: Files,
    name: Name = "",
    at: At = None,
    scale: Scales = None,
    column: Columns = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Import answers and feedback from another tool's files. Importing the same again changes nothing; an import that
    was interrupted goes on where it was."""
    with clear_errors():
        when = at.replace(tzinfo=at.tzinfo or UTC) if at else NOTHING_SAID
        options = Options(dict(map(parse_scale, scale or [])), dict(map(parse_column, column or [])))
        about = Import(name or source, source, when)
        job = Job(find_importer(source), files, about, options)
        report = run_dry(job) if dry_run else run_import(job)
    if as_json:
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        render(report, console)


def parse_scale(text: str) -> tuple[str, Scale]:
    """Parse NAME=LOW:HIGH. Raises: StackFailed: it is something else."""
    name, _, ends = text.rpartition("=")
    low, _, high = ends.partition(":")
    try:
        scale = Scale(float(low), float(high))
    except ValueError:
        scale = Scale(0, 0)
    if not name or not scale.low < scale.high:
        raise StackFailed(f"--scale {text!r} is not NAME=LOW:HIGH with LOW below HIGH, such as user-feedback=0:1")
    return name, scale


def parse_column(text: str) -> tuple[str, str]:
    """Parse FIELD=COLUMN. Raises: StackFailed: it is something else."""
    name, _, column = text.partition("=")
    if not name or not column:
        raise StackFailed(f"--column {text!r} is not FIELD=COLUMN, such as answer=reply")
    return name, column


def run_dry(job: Job) -> dict[str, Any]:
    """Read everything and send nothing; return the report."""
    about = replace(job.about, secret="of a dry run, which sends nothing")
    tally, preview, progress = Tally(), Preview(), Progress(_say)
    for place, found in walk(job.files, job.importer, job.options, tally):
        preview.add(about.derive_events(found))
        progress.report(tally.records, place.share)
    return {"import": about.name, "sent": False, **tally.as_dict(), **preview.derive()}


def run_import(job: Job) -> dict[str, Any]:
    """Send everything that is not refused; return the report.

    Raises: StackFailed: no broker, one that does not store, users and no secret, or a name that was taken back.
    """
    about = replace(job.about, secret=find_user_hash_secret())
    refuse_withdrawn(about.name)
    checkpoint = Checkpoint.find(find_home(), about.name, about.tool, job.files)
    begun = checkpoint.load()
    with _open_sender(checkpoint) as sender:
        tally = send_all(replace(job, about=about), sender, begun, Progress(_say))
    checkpoint.remove()
    return {"import": about.name, "sent": True, "resumed_after_record": begun[1] or None, **tally.as_dict()}


def send_all(job: Job, sender: Sender, begun: tuple[int, int], progress: Progress) -> Tally:
    """Send what follows after `begun`, a (file, record). Raises: StackFailed: see `run_import`."""
    tally, place = Tally(), Place(0, 0, 0.0)
    for place, found in walk(job.files, job.importer, job.options, tally, begun):
        try:
            sender.add(list(job.about.derive_events(found)), place)
        except SecretMissing as error:
            raise StackFailed(str(error)) from None
        except Refused as refused:
            tally.count_refused(refused, f"{job.files[place.file].name}, record {place.record}")
        progress.report(tally.records, place.share)
    sender.flush(place)
    return tally


@contextmanager
def _open_sender(checkpoint: Checkpoint) -> Iterator[Sender]:
    broker = find_broker()
    producer = KafkaBusProducer(
        broker.bootstrap_servers,
        client_id="heliotrope-import",
        deadline_seconds=ACK_DEADLINE_SECONDS,
        security=broker.security,
    )
    try:
        yield Sender(producer, broker.topic_prefix, checkpoint)
    finally:
        producer.close(ACK_DEADLINE_SECONDS)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
