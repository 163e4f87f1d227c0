"""`heliotrope import`: what a team already has in another tool becomes evidence like any other."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console

from cli.broker import find_broker, find_user_hashes
from cli.database import record_if_reached
from cli.errors import clear_errors
from cli.exchange.apis.fetching import Client, Credentials
from cli.exchange.dry_run import Preview
from cli.exchange.events import AnyEvent, Import, SecretMissing
from cli.exchange.found import Found, Options, Refused, Scale
from cli.exchange.ports import Importer
from cli.exchange.recognising import describe_strange_files
from cli.exchange.registry import IMPORTERS, find_importer
from cli.exchange.reporting.progress import Progress
from cli.exchange.reporting.reports import render
from cli.exchange.reporting.tally import Tally
from cli.exchange.sending import ACK_DEADLINE_SECONDS, Checkpoint, Sender, at_the_cost_of_one_record
from cli.exchange.walking import Place, walk, walk_pages
from cli.exchange.withdrawals import refuse_withdrawn
from local.errors import StackFailed
from local.layout import find_home
from shared.bus.kafka import KafkaBusProducer
from shared.user_hashes import UserHashes

console = Console(soft_wrap=True, highlight=False)
NOTHING_SAID = datetime(2000, 1, 1, tzinfo=UTC)
SKEW = timedelta(days=1)
"""By which another machine's clock may be ahead of ours, as ingest allows."""
Take = Callable[[list[AnyEvent], Place], None]

SourceName = Annotated[str, typer.Argument(help=f"Where it comes from: {', '.join(IMPORTERS)}.")]
Files = Annotated[
    list[Path] | None, typer.Argument(exists=True, dir_okay=False, help=".json, .jsonl, .csv, .parquet; .gz.")
]
Url = Annotated[str, typer.Option(help="Of the tool's API, in place of files.")]
Since = Annotated[datetime | None, typer.Option(help="The earliest time that the API is asked for.")]
Name = Annotated[str, typer.Option(help="Of the import, kept with every row. Default: the source.")]
At = Annotated[datetime | None, typer.Option(help="When what has no time was said. Default: 1 January 2000.")]
Scales = Annotated[list[str] | None, typer.Option("--scale", help="NAME=LOW:HIGH, of a score without a stated scale.")]
Columns = Annotated[list[str] | None, typer.Option("--column", help="FIELD=COLUMN, of a table.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is in it and what would become of it; send nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Job:
    """What is imported: files, or what the API at `url` lists, since a time or from the beginning."""

    importer: Importer
    files: Sequence[Path]
    about: Import
    options: Options
    url: str = ""
    since: datetime | None = None

    @property
    def host(self) -> str | None:
        """Whose API it is; None: files, or an address that is none."""
        try:
            return urlsplit(self.url).hostname
        except ValueError:
            return None

    @property
    def origin(self) -> Sequence[str]:
        return [self.url, str(self.since)] if self.url else []


def import_files(
    source: SourceName,
    files: Files = None,
    url: Url = "",
    since: Since = None,
    name: Name = "",
    at: At = None,
    scale: Scales = None,
    column: Columns = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Import answers and feedback from another tool's files, or from its API. Importing the same again changes nothing;
    an import that was interrupted goes on where it was."""
    with clear_errors():
        when = at.replace(tzinfo=at.tzinfo or UTC) if at else NOTHING_SAID
        options = Options(dict(map(parse_scale, scale or [])), dict(map(parse_column, column or [])))
        about = Import(name or source, source, when, latest=datetime.now(UTC) + SKEW)
        begun = since.replace(tzinfo=since.tzinfo or UTC) if since else None
        job = Job(find_importer(source), files or [], about, options, url, begun)
        check_origin(job)
        check_columns(job)
        report = run_dry(job) if dry_run else run_import(job)
    if as_json:
        sys.stdout.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        render(report, console)
    if any(one["nothing_taken"] for one in report["strange_files"]):
        raise typer.Exit(1)


def check_origin(job: Job) -> None:
    """Refuse what is neither files nor an API that can be read. Raises: StackFailed: says what to say instead."""
    if bool(job.files) == bool(job.url):
        raise StackFailed("say which files to import, or the address of the tool's API with --url, and not both")
    if job.url and job.importer.api is None:
        known = ", ".join(name for name, one in IMPORTERS.items() if one.api)
        raise StackFailed(f"the API of {job.about.tool} is not read, only that of {known}: export files from it")
    if job.url and not (job.url.startswith(("http://", "https://")) and job.host):
        raise StackFailed(f"--url {job.url!r} is no address, such as https://cloud.langfuse.com")
    timed = job.importer.api and any(one.times for stage in job.importer.api.stages for one in stage)
    if job.since and not (job.url and timed):
        raise StackFailed("--since is for an API that lists by time: here everything is read")


def check_columns(job: Job) -> None:
    """Refuse columns that the source does not let the operator name. Raises: StackFailed: says which it does."""
    known = job.importer.columns
    for name in job.options.columns:
        if not known:
            raise StackFailed(
                f"--column is not for {job.about.tool}, whose fields have names of their own: for a table of yours say "
                "`heliotrope import csv`"
            )
        if name not in known:
            raise StackFailed(f"--column {name}=...: of {job.about.tool}, {', '.join(known)} can be named")


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
    about = replace(job.about, hashes=UserHashes("of a dry run, which sends nothing"))
    preview = Preview()
    tally = take_all(replace(job, about=about), Place(0, 0), Progress(_say), lambda events, place: preview.take(events))
    found = describe_strange_files(job.files, about.tool, job.options, tally, Place(0, 0))
    return {"import": about.name, "sent": False, **tally.as_dict(), "strange_files": found, **preview.derive()}


def run_import(job: Job) -> dict[str, Any]:
    """Send everything that is not refused; return the report.

    Raises: StackFailed: no broker, one that does not store, users and no secret, or a name that was taken back.
    """
    about = replace(job.about, hashes=find_user_hashes())
    refuse_withdrawn(about.name)
    checkpoint = Checkpoint.find(find_home(), about.name, about.tool, job.files, job.origin)
    begun = checkpoint.load()
    source = {"tool": about.tool, "files": len(job.files), "api": job.host}
    with _open_sender(checkpoint) as sender:
        record_if_reached("begin_import", about.name, source | {"after_record": begun.record})
        tally = send_all(replace(job, about=about), sender, begun, Progress(_say))
    taken = {"records": tally.records, "answers": tally.answers, "feedback": tally.feedback.total()}
    record_if_reached("end_import", about.name, source | taken)
    checkpoint.remove()
    found = describe_strange_files(job.files, about.tool, job.options, tally, begun)
    counted = {**tally.as_dict(), "strange_files": found}
    return {"import": about.name, "sent": True, "resumed_after_record": begun.record or None, **counted}


def send_all(job: Job, sender: Sender, begun: Place, progress: Progress) -> Tally:
    """Send what follows after `begun`. Raises: StackFailed: see `run_import`."""
    place = begun

    def send(events: list[AnyEvent], at: Place) -> None:
        nonlocal place
        place = at
        sender.add(events, at)

    tally = take_all(job, begun, progress, send)
    sender.flush(place)
    return tally


def take_all(job: Job, begun: Place, progress: Progress, take: Take) -> Tally:
    """Hand over the events of each record that follows after `begun`; what cannot be taken is counted as refused.

    Raises: StackFailed: users and no secret; or what `take` raises.
    """
    tally = Tally()
    for place, found in _walk(job, tally, begun):
        if found is not None:
            try:
                with at_the_cost_of_one_record():
                    found = job.about.check_times(found)
                    events = list(job.about.derive_events(found))
                take(events, place)
                tally.count(found, str(place), place.file)
            except SecretMissing as error:
                raise StackFailed(str(error)) from None
            except Refused as refused:
                tally.count_record(refused, str(place), place.file)
        progress.report(tally.records, place.share)
    return tally


def _walk(job: Job, tally: Tally, begun: Place) -> Iterator[tuple[Place, Found | None]]:
    if job.importer.api is None or not job.url:
        yield from walk(job.files, job.importer, job.options, tally, begun)
        return
    api = job.importer.api
    with closing(Client(api, job.url, Credentials.find(api), job.since, say=_say)) as client:
        yield from walk_pages(client, job.importer, job.options, tally, begun)


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
