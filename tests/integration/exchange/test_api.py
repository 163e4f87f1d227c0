"""Imports from a tool's API, against a server that plays what the tool documents: no real one is asked."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.exchange.apis import fetching
from cli.exchange.apis.fetching import Client, Credentials
from cli.exchange.commands import Job, check_origin, send_all
from cli.exchange.events import Import
from cli.exchange.found import Options
from cli.exchange.registry import IMPORTERS
from cli.exchange.reporting.progress import Progress
from cli.exchange.reporting.tally import Tally
from cli.exchange.sending import Checkpoint, Sender
from cli.exchange.walking import walk_pages
from cli.main import app
from local.errors import StackFailed
from shared.bus import decode
from shared.user_hashes import UserHashes
from tests.integration.exchange.tool_server import Tool, serve
from tests.unit.exchange.test_running import RecordingProducer

OBSERVATIONS, TRACES = "/api/public/v2/observations", "/api/public/traces"
SCORES_3, SCORES_2, COMMENTS = "/api/public/v3/scores", "/api/public/v2/scores", "/api/public/comments"
COMPLETIONS = "/v1/chat/completions"
ROWS = 5
KEYS = Credentials("sk-1", "pk-1")
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def make_trace(number: int, **more: Any) -> dict[str, Any]:
    asked = {"input": f"Where is lamp {number}?", "output": f"Lamp {number} left.", "userId": "ines"}
    return {"id": f"t{number}", "timestamp": "2026-03-01T10:00:00Z", **asked, **more}


def make_observation(number: int) -> dict[str, Any]:
    trace = make_trace(number)
    return trace | {"id": f"o{number}", "traceId": f"t{number}", "type": "SPAN", "parentObservationId": None}


def make_score(number: int, **about: Any) -> dict[str, Any]:
    return {"id": f"s{number}", "name": "thumb", "dataType": "BOOLEAN", "value": 1, "source": "API", **about}


def list_version_4() -> dict[str, list[dict[str, Any]]]:
    comment = {"id": "c1", "objectType": "TRACE", "objectId": "t1", "content": "Curt."}
    return {
        OBSERVATIONS: [make_observation(number) for number in range(ROWS)],
        SCORES_3: [make_score(number, subject={"kind": "trace", "id": f"t{number}"}) for number in range(ROWS)],
        COMMENTS: [comment],
    }


@pytest.fixture
def tool() -> Iterator[Tool]:
    with serve(Tool(list_version_4())) as served:
        yield served


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"LANGFUSE_PUBLIC_KEY": "pk-1", "LANGFUSE_SECRET_KEY": "sk-1", "OPENAI_API_KEY": "sk-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path))


def make_job(tool: Tool, source: str = "langfuse", since: datetime | None = None) -> Job:
    about = Import("api", source, datetime(2000, 1, 1, tzinfo=UTC), UserHashes("a secret of sixteen"))
    return Job(IMPORTERS[source], [], about, Options(), tool.url, since)


def run(job: Job, producer: RecordingProducer, home: Path) -> Tally:
    checkpoint = Checkpoint.find(home, job.about.name, job.about.tool, [], job.origin)
    return send_all(job, Sender(producer, "", checkpoint), checkpoint.load(), Progress(lambda line: None))


def test_traces_scores_and_comments_of_version_4_are_read_page_by_page(tool: Tool, tmp_path: Path):
    tally = run(make_job(tool, since=SINCE), RecordingProducer(), tmp_path)
    assert (tally.answers, tally.feedback, tally.refused) == (ROWS, Counter(thumb=ROWS, comment=1), Counter())
    assert Counter(path for path, _ in tool.asked) == {OBSERVATIONS: 3, SCORES_3: 3, COMMENTS: 1}
    [first, second, *_] = [asked for path, asked in tool.asked if path == OBSERVATIONS]
    assert (first["fromStartTime"], second["cursor"]) == (SINCE.isoformat(), "2")
    assert first["toStartTime"] == second["toStartTime"], "what is recorded meanwhile moves no page"
    assert next(asked for path, asked in tool.asked if path == SCORES_3)["fields"] == "details,subject,annotation"


def test_an_older_langfuse_is_read_by_its_own_listings(tmp_path: Path):
    older = {
        TRACES: [make_trace(number, scores=["s1"], observations=["o1"]) for number in range(ROWS)],
        SCORES_2: [make_score(number, traceId=f"t{number}") for number in range(ROWS)],
        COMMENTS: [],
    }
    with serve(Tool(older)) as tool:
        tally = run(make_job(tool), RecordingProducer(), tmp_path)
    assert (tally.answers, tally.feedback) == (ROWS, Counter(thumb=ROWS))
    assert [asked["page"] for path, asked in tool.asked if path == TRACES and "page" in asked] == ["2", "3"]


def test_a_dry_run_asks_the_same_and_says_what_would_become_of_it(tool: Tool):
    done = CliRunner().invoke(app, ["import", "langfuse", "--url", tool.url, "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "11 records, 5 answers" in done.output
    assert "Nothing was sent." in done.output


def test_a_busy_api_is_asked_again_when_it_says_so(tool: Tool):
    tool.busy = Counter({OBSERVATIONS: 1, SCORES_3: 2})
    waits: list[float] = []
    importer = IMPORTERS["langfuse"]
    assert importer.api
    client, tally = Client(importer.api, tool.url, KEYS, sleep=waits.append), Tally()
    found = [one for _, one in walk_pages(client, importer, Options(), tally) if one is not None]
    assert waits == [7.0, 7.0, 7.0]
    assert sum(len(one.answers) for one in found) == ROWS
    tool.busy = Counter({OBSERVATIONS: 10**6})
    with pytest.raises(StackFailed, match=r"does not answer \(status 429\); the same command goes on"):
        list(client.list_pages(0))
    assert sum(waits) <= 21 + fetching.PATIENCE_SECONDS


def test_an_import_that_was_stopped_goes_on_at_the_page_where_it_was(tool: Tool, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("cli.exchange.sending.IN_FLIGHT", 3)
    undisturbed, stopped, resumed = RecordingProducer(), RecordingProducer(fails_after=6), RecordingProducer()
    run(make_job(tool), undisturbed, tmp_path / "undisturbed")
    with pytest.raises(StackFailed, match="run the same command again"):
        run(make_job(tool), stopped, tmp_path / "stopped")
    tool.asked.clear()
    run(make_job(tool), resumed, tmp_path / "stopped")
    assert (OBSERVATIONS, None) not in [(path, asked.get("cursor")) for path, asked in tool.asked]
    ids = [{decode(one).identity for one in producer.stored} for producer in (undisturbed, stopped, resumed)]
    assert ids[1] | ids[2] == ids[0]
    assert len(ids[2]) < len(ids[0])


def test_stored_completions_come_with_the_messages_that_are_listed_apart(tmp_path: Path):
    choice = {"index": 0, "message": {"role": "assistant", "content": "It left."}, "finish_reason": "stop"}
    stored = [{"id": f"c{number}", "created": 1767000000, "model": "m", "choices": [choice]} for number in range(3)]
    message = {"id": "m", "role": "user", "content": "Where is my lamp?"}
    listings = {COMPLETIONS: stored} | {f"{COMPLETIONS}/c{number}/messages": [message] for number in range(2)}
    with serve(Tool(listings)) as tool:
        tally = run(make_job(tool, "openai"), RecordingProducer(), tmp_path)
    assert (tally.answers, tally.refused) == (2, Counter(no_prompt=1))
    assert [asked["after"] for path, asked in tool.asked if "after" in asked] == ["c1"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["langfuse"], "say which files"),
        (["sharegpt", "--url", "http://x"], "the API of sharegpt is not read, only that of langfuse, openai"),
        (["langfuse", "--url", "cloud.langfuse.com"], "is no address"),
        (["langfuse", "--url", "https://[::1"], "is no address"),
        (["openai", "--url", "http://x", "--since", "2026-01-01"], "here everything is read"),
        (["langfuse", "--url", "http://127.0.0.1:9", "--dry-run"], "http://127.0.0.1:9 cannot be reached"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_to_say(arguments: list[str], said: str):
    done = CliRunner().invoke(app, ["import", *arguments])
    assert done.exit_code == 1
    assert said in done.output


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b'{"id": ' + b"1" * 5_000 + b"}", "not_json"),
        (b'{"id": ' + b"[" * 3_000 + b"]" * 3_000 + b"}", "too_deep"),
        (b'"text"', "no_object"),
        (b'{"id": "\xff"}', "not_utf8"),
    ],
    ids=["a number of 5,000 digits", "nested 3,000 deep", "no object", "no UTF-8"],
)
def test_a_record_of_an_api_that_cannot_be_read_costs_itself_and_not_its_page(
    tool: Tool, tmp_path: Path, record: bytes, reason: str
):
    good = [json.dumps(one).encode() for one in tool.listings[OBSERVATIONS]]
    tool.verbatim[OBSERVATIONS] = b'{"meta": {}, "data": [' + b",".join([*good[:2], record, *good[2:]]) + b"]}"
    tally = run(make_job(tool), RecordingProducer(), tmp_path)
    assert (tally.answers, tally.refused) == (ROWS, Counter({reason: 1}))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"data": [{"id": "a"}', "no JSON"),
        (b"<html>", "no JSON"),
        (b"[]", "without a list under `data`"),
        (b'{"data": {}}', "without a list under `data`"),
        (b'{"data": [], "meta": ' + b"[" * 9_000, "no JSON"),
        (b'{"data": [' + b" " * 3_000 + b"]}", "more than 2,000 bytes"),
    ],
    ids=["cut short", "a page for people", "a list", "no list", "a frame too deep", "too long"],
)
def test_what_is_no_page_ends_the_import_with_the_reason(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, said: str
):
    tool.verbatim[OBSERVATIONS] = body
    if said.startswith("more"):
        monkeypatch.setattr(fetching, "LONGEST_PAGE", 2_000)
    with pytest.raises(StackFailed, match=said):
        run(make_job(tool), RecordingProducer(), tmp_path)


def test_a_wrong_key_and_a_wrong_address_are_told_apart(tool: Tool, monkeypatch: pytest.MonkeyPatch):
    check_origin(make_job(tool))
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-2")
    said = CliRunner().invoke(app, ["import", "langfuse", "--url", tool.url, "--dry-run"]).output
    assert "does not take the key (401)" in said
    assert "sk-2" not in said
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-1")
    tool.listings.clear()
    said = CliRunner().invoke(app, ["import", "langfuse", "--url", tool.url, "--dry-run"]).output
    assert "has none of" in said
    monkeypatch.delenv("LANGFUSE_SECRET_KEY")
    said = CliRunner().invoke(app, ["import", "langfuse", "--url", tool.url, "--dry-run"]).output
    assert "set LANGFUSE_SECRET_KEY" in said
