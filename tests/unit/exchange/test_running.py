"""An import that is killed goes on where it was; a dry run says what would become of a file."""

import json
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.exchange import dry_run, sending
from cli.exchange.commands import Job, parse_column, parse_scale, run_dry, send_all
from cli.exchange.events import Import
from cli.exchange.found import Options
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.progress import Progress
from cli.exchange.reporting.reports import describe
from cli.exchange.sending import Checkpoint, Sender
from cli.exchange.walking import Place
from local.errors import StackFailed
from shared.bus import Record
from tests.unit.exchange.reading_files import FIXTURES

ROWS = 5_000


class RecordingProducer:
    """Stores what it is sent, until it is told to fail."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.stored: list[Record] = []
        self._fails_after = fails_after

    def send(self, record: Record) -> "Future[None]":
        stored: Future[None] = Future()
        if self._fails_after is not None and len(self.stored) >= self._fails_after:
            stored.set_exception(TimeoutError("gone"))
        else:
            self.stored.append(record)
            stored.set_result(None)
        return stored


@pytest.fixture
def job(tmp_path: Path) -> Job:
    file = tmp_path / "rows.jsonl"
    row = {"prompt": "Question {}", "chosen": "Yes, it is {}.", "rejected": "No."}
    lines = [json.dumps({name: text.format(number) for name, text in row.items()}) for number in range(ROWS)]
    lines.insert(7, "broken")
    file.write_text("\n".join(lines))
    about = Import("rows", "pairs", datetime(2000, 1, 1, tzinfo=UTC))
    return Job(IMPORTERS["pairs"], [file], about, Options())


def run(job: Job, producer: RecordingProducer, home: Path) -> tuple[int, Checkpoint]:
    checkpoint = Checkpoint.find(home, job.about.name, job.about.tool, job.files)
    begun = checkpoint.load()
    send_all(job, Sender(producer, "", checkpoint), begun, Progress(lambda line: None))
    return begun.record, checkpoint


def test_an_import_that_was_stopped_in_the_middle_goes_on_and_sends_what_an_undisturbed_one_does(job, tmp_path):
    undisturbed, stopped, resumed = RecordingProducer(), RecordingProducer(fails_after=9_000), RecordingProducer()
    run(job, undisturbed, tmp_path / "a")
    with pytest.raises(StackFailed, match="run the same command again"):
        run(job, stopped, tmp_path / "b")
    begun, _ = run(job, resumed, tmp_path / "b")
    assert 0 < begun < ROWS
    assert len(resumed.stored) < len(undisturbed.stored)
    sent = {(record.key, record.value) for record in stopped.stored + resumed.stored}
    assert sent == {(record.key, record.value) for record in undisturbed.stored}
    assert len(sent) == 3 * ROWS


def test_a_second_import_sends_the_same_events_under_the_same_ids(job, tmp_path):
    first, second = RecordingProducer(), RecordingProducer()
    _, checkpoint = run(job, first, tmp_path)
    checkpoint.remove()
    run(job, second, tmp_path)
    assert [record.headers["ce_id"] for record in first.stored] == [record.headers["ce_id"] for record in second.stored]
    assert [record.value for record in first.stored] == [record.value for record in second.stored]


def test_a_changed_file_is_not_gone_on_with(job, tmp_path):
    _, checkpoint = run(job, RecordingProducer(), tmp_path)
    assert checkpoint.load() == Place(0, ROWS + 1)
    with job.files[0].open("a") as file:
        file.write("\n")
    assert Checkpoint.find(tmp_path, "rows", "pairs", job.files).load() == Place(0, 0)


def test_a_record_too_large_for_the_broker_is_refused_alone(tmp_path):
    file = tmp_path / "rows.jsonl"
    row = {"prompt": "a", "chosen": "b", "rejected": "c"}
    rows = [row | {"chosen": "b" * (sending.LARGEST_RECORD + 1)}, row]
    file.write_text("\n".join(map(json.dumps, rows)))
    job = Job(IMPORTERS["pairs"], [file], Import("rows", "pairs", datetime(2000, 1, 1, tzinfo=UTC)), Options())
    producer, checkpoint = RecordingProducer(), Checkpoint(tmp_path / "checkpoint.json")
    tally = send_all(job, Sender(producer, "", checkpoint), Place(0, 0), Progress(lambda line: None))
    assert dict(tally.refused) == {"too_large": 1}
    assert len(producer.stored) == 3


def dry(source: str, *names: str) -> dict[str, object]:
    about = Import(source, source, datetime(2000, 1, 1, tzinfo=UTC))
    return run_dry(Job(IMPORTERS[source], [FIXTURES / name for name in names], about, Options()))


def test_a_dry_run_says_what_the_curators_rules_would_make_of_it():
    report = dry("open-webui", "open-webui.json", "open-webui-feedback.json")
    assert report["pairs"] == {
        "choice": {"active": 1},
        "regenerate": {"active": 1},
        "same_user_contrast": {"active": 1},
    }
    assert report["labels"] == {"regenerate": 1, "thumb": 1}
    assert report["answers"] == 4


def test_a_dry_run_shows_examples_of_what_would_be_refused_and_what_waits():
    report = dry("langfuse", "langfuse.json", "langfuse-scores-v3.jsonl")
    assert report["refused"]["unknown_scale"] == {  # type: ignore[index]
        "count": 2,
        "fields": {"stars": 1, "tone": 1},
        "examples": [
            "langfuse.json, record 1: stars is 4 on a scale that the source does not state: say --scale stars=LOW:HIGH",
            "langfuse-scores-v3.jsonl, record 4: tone is 7 on a scale that the source does not state: "
            "say --scale tone=LOW:HIGH",
        ],
    }
    assert report["without_answer"] == 3
    text = "\n".join(describe(report))
    assert "3 of feedback waits for answers that are not in these files" in text
    assert text.endswith("Nothing was sent.")


def test_progress_says_how_long_it_will_still_take():
    said: list[str] = []
    times = iter([0.0, 0.0, 20.0, 25.0])
    progress = Progress(said.append, lambda: next(times))
    for records, share in ((0, 0.0), (4_000, 0.2), (5_000, 0.25)):
        progress.report(records, share)
    assert said == ["4,000 records, 20%, 200 records/s, 80 s left"]


@pytest.mark.parametrize("text", ["stars", "stars=5", "=0:1", "stars=5:1", "stars=a:b"])
def test_a_scale_that_is_none_is_refused(text: str):
    with pytest.raises(StackFailed, match="LOW:HIGH"):
        parse_scale(text)


def test_a_column_that_is_none_is_refused():
    assert parse_column("answer=Reply=Text") == ("answer", "Reply=Text")
    with pytest.raises(StackFailed, match="FIELD=COLUMN"):
        parse_column("answer")


def test_a_dry_run_holds_no_more_of_a_large_file_than_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dry_run, "MOST_ANSWERS", 10)
    preview = dry_run.Preview()
    about = Import("rows", "csv", datetime(2000, 1, 1, tzinfo=UTC))
    for number in range(50):
        row = {"id": number, "prompt": f"Question {number}", "answer": f"Answer {number}", "thumb": "up"}
        preview.take(list(about.derive_events(IMPORTERS["csv"].read(row, Options()))))
    report = preview.derive()
    assert (len(preview.answers), len(preview.feedback)) == (10, 10)
    assert (report["labels"], report["without_answer"], report["only_the_first_answers"]) == ({"thumb": 10}, 0, 10)
