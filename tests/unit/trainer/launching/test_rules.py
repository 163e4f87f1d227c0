"""Limits, endings, records and the launchers' file: what is decided without asking an engine."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from services.trainer.adapters.launching.stored_checkpoints import find_whole
from services.trainer.bootstrap.launchers import load_offers
from services.trainer.domain.launching.endings import Outcome, RemoteRun, assess_ending, dump_outcome, parse_outcome
from services.trainer.domain.launching.limits import (
    Limits,
    calculate_allowed_seconds,
    explain_overrun,
    limit_budget,
)
from services.trainer.domain.launching.orders import Addresses, Pinned, name_job, write_arguments
from services.trainer.domain.launching.records import RemoteRecord, dump_record, parse_record
from services.trainer.domain.launching.settings import parse_launchers
from services.trainer.domain.training import TrainingFailed, TrainingResult
from services.trainer.settings import TrainerSettings
from shared.errors import InvalidRequest
from tests.builders import make_recipe

RESULT = TrainingResult(4, "w" * 64, "all steps taken", 60, 0)


def test_money_shortens_what_hours_allow():
    limits = Limits(max_instances=4, max_hours=10, max_cost=80, cost_per_instance_hour=10)
    assert calculate_allowed_seconds(limits, 1) == 8 * 3600
    assert calculate_allowed_seconds(limits, 4) == 2 * 3600
    assert explain_overrun(limits, 4, 2 * 3600) is None
    assert "cost" in (explain_overrun(limits, 4, 2 * 3600 + 1) or "")
    assert "10 hours" in (explain_overrun(Limits(max_hours=10), 1, 36001) or "")


def test_more_machines_than_allowed_are_refused():
    with pytest.raises(TrainingFailed, match="5 machines, and 4"):
        calculate_allowed_seconds(Limits(max_instances=4), 5)


@pytest.mark.parametrize(
    ("state", "outcome", "kind"),
    [
        ("failed", Outcome("trained", result=RESULT), "trained"),
        ("evicted", Outcome("failed", "a guard stopped it", "guard"), "failed"),
        ("succeeded", Outcome("interrupted", "at step 3"), "evicted"),
        ("evicted", None, "evicted"),
        ("cancelled", None, "failed"),
        ("cancelled", Outcome("interrupted", "told to end"), "failed"),
        ("cancelled", Outcome("trained", result=RESULT), "trained"),
        ("gone", None, "evicted"),
        ("lost", None, "evicted"),
        ("lost", Outcome("lost", "ImportError: no module named flash"), "lost"),
        ("evicted", Outcome("lost", "connection closed by peer"), "evicted"),
        ("lost", Outcome("memory", "out of memory"), "memory"),
        ("failed", None, "failed"),
        ("succeeded", None, "failed"),
    ],
)
def test_a_runs_own_word_goes_before_its_engines(state: str, outcome: Outcome | None, kind: str):
    assert assess_ending(RemoteRun(state), outcome, "").kind == kind  # type: ignore[arg-type]


def test_a_machine_that_knows_goes_before_those_that_only_miss_it():
    missed = Outcome("lost", "connection closed by peer")
    ending = assess_ending(RemoteRun("lost"), missed, "", [Outcome("failed", "no space left", "disk")])
    assert (ending.kind, ending.reason, ending.cause) == ("failed", "no space left", "disk")
    assert assess_ending(RemoteRun("lost"), missed, "", [Outcome("memory", "7 GiB", "memory")]).kind == "memory"
    assert assess_ending(RemoteRun("lost"), missed, "", [Outcome("interrupted", "drained")]).kind == "evicted"
    lost = assess_ending(RemoteRun("lost"), None, "", [Outcome("lost", "KeyError: 'labels'")])
    assert (lost.kind, lost.reason) == ("lost", "KeyError: 'labels'")


def test_losses_count_since_the_last_checkpoint_and_memory_is_no_eviction():
    record = RemoteRecord(launcher="spot", began=datetime(2026, 11, 28, tzinfo=UTC))
    once = record.next_start("lost")
    assert (once.losses, once.fruitless, once.evictions) == (1, 1, 1)
    assert once.next_start("lost").losses == 2
    gained = replace(once, gained=True).next_start("lost")
    assert (gained.losses, gained.fruitless, gained.evictions, gained.gained) == (1, 0, 2, False)
    smaller = record.next_start("memory")
    assert (smaller.shrunk, smaller.number, smaller.evictions) == (1, 2, 0)


def test_without_a_word_the_logs_end_says_why():
    ending = assess_ending(RemoteRun("failed", "ended with status 3"), None, f"{'x' * 900}the disk is full\n")
    assert ending.reason.startswith("ended with status 3: xxx")
    assert ending.reason.endswith("the disk is full")
    assert len(ending.reason) < 700


def test_outcomes_survive_writing_and_nonsense_is_a_failure():
    outcome = Outcome("trained", result=RESULT, candidate_sha256="c" * 64)
    assert parse_outcome(dump_outcome(outcome)) == outcome
    for nonsense in (b"", b"[]", b'{"kind": "won"}', b'{"kind": "failed", "cause": ["x"]}'):
        assert parse_outcome(nonsense).kind == "failed"
    assert parse_outcome(b'{"kind": "failed", "detail": "x", "cause": "of a later release"}').cause == "error"


def test_a_record_survives_and_a_closed_one_is_none():
    record = RemoteRecord(launcher="spot", began=datetime(2026, 11, 28, tzinfo=UTC), handle="job-1", reports=7)
    assert parse_record(dump_record(record)) == record
    assert parse_record(dump_record(record) | {"open": False}) is None
    assert parse_record(None) is None
    following = record.next_start("evicted")
    assert (following.number, following.evictions, following.handle, following.reports) == (2, 1, None, 0)


def test_a_jobs_name_is_short_and_the_same_at_every_try():
    name = name_job(UUID(int=7), 3)
    assert name == name_job(UUID(int=7), 3)
    assert len(name_job(UUID(int=7), 10)) <= 46


def test_the_command_names_every_address():
    where = Addresses(base=Pinned("s3://b/base", "a"), dataset=Pinned("s3://b/d"), output="s3://b/o")
    recipe = Pinned("s3://b/r.yaml", "c")
    line = " ".join(write_arguments(recipe, where, 2, threads=0, max_seconds=3600, trusted=("k", "l")))
    assert line.startswith(
        "train s3://b/r.yaml --base s3://b/base --dataset s3://b/d --base-sha256 a --recipe-sha256 c"
    )
    assert "--trust k --trust l" in line
    assert "--output s3://b/o --attempt 2" in line
    assert line.endswith("--max-seconds 3600")


def test_a_launchers_limit_ends_training_while_there_is_time_to_store_it():
    recipe = make_recipe(budget={"max_minutes": 600})
    assert limit_budget(recipe, 0.0, 3600.0).budget.max_minutes == pytest.approx(54)  # a tenth is kept back
    assert limit_budget(recipe, 7200.0, 36000.0).budget.max_minutes == 600  # its own is shorter
    assert limit_budget(make_recipe(), 7200.0, 36000.0).budget.max_minutes == pytest.approx(120 + 600 - 15)


def test_a_checkpoint_counts_once_all_its_parts_are_there():
    places = ["1/checkpoint-2/part-0-of-2", "1/checkpoint-2/part-1-of-2", "1/checkpoint-4/part-0-of-2", "odd"]
    assert find_whole(places) == {"1/checkpoint-2": ["part-0-of-2", "part-1-of-2"]}


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"spot": {"engine": "ray"}}, "launchers"),
        ({"spot": {"engine": "slurm"}}, "launchers"),
        ({"Spot!": {"engine": "local"}}, "launchers"),
        ({"spot": {"engine": "local", "environment": {"AWS_SECRET_ACCESS_KEY": "x"}}}, "AWS_SECRET_ACCESS_KEY"),
        ({"spot": {"engine": "local", "environment": {"hf_token": "x"}}}, "hf_token"),
        ({"spot": {"engine": "local", "limits": {"max_cost": 5}}}, "cost_per_instance_hour"),
        ({"spot": {"engine": "local", "limits": {"hours": 5}}}, "launchers"),
        ({"spot": {"engine": "kubeflow", "image": "x", "secrets": ["objects"]}}, "secrets: a TrainJob takes none"),
    ],
    ids=["missing", "unknown engine", "name", "secret", "token", "cost", "unknown limit", "TrainJob's secrets"],
)
def test_a_wrong_launchers_file_names_the_field(content: object, field: str):
    with pytest.raises(InvalidRequest, match=field):
        parse_launchers({"launchers": content})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://ann:pw@db/heliotrope"),
        ("BROKER_URL", "amqp://:pw@mq"),
        ("PROXY", "http://ghp_0123456789abcdefgh@proxy:8080"),
        ("BLOB", "https://store.example/c?sv=2024&sig=abc"),
        ("MY_PASSWD", "x"),
        ("PGPASSWORD", "x"),
        ("PGPASSFILE_PASS", "x"),
        ("MINIO_PASS", "x"),
        ("WANDB_APIKEY", "x"),
        ("KAFKA_SASL_PWD", "x"),
        ("MLFLOW_TRACKING_AUTH", "x"),
        ("HELIOTROPE_DATABASE_URL", "postgresql://db/heliotrope"),
        ("CELERY_BROKER_URL", "redis://cache:6379"),
        ("REDIS_URI", "redis://cache:6379"),
        ("AZURE_STORAGE_CONNECTION_STRING", "x"),
        ("STORE", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc=="),
        ("CONNINFO", "host=db user=ann password=pw"),
        ("DB_PWD", "x"),
        ("AUTH", "x"),
        ("SENTRY_DSN", "x"),
        ("SSH_PRIVATE", "x"),
        ("PEM", "-----BEGIN RSA PRIVATE KEY-----"),
    ],
)
def test_secrets_in_the_environment_are_refused_by_name_and_by_what_they_look_like(name: str, value: str):
    with pytest.raises(InvalidRequest, match=f"launchers.spot.environment.{name}") as caught:
        parse_launchers({"launchers": {"spot": {"engine": "local", "environment": {name: value}}}})
    assert value == "x" or value not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "false"),
        ("HTTP_PROXY", "http://proxy:8080"),
        ("GIT", "ssh://git@host.example/repo"),
        ("HELIOTROPE_ARTIFACTS_URI", "s3://bucket/prefix"),
        ("AUTHOR", "ann@example.org"),
        ("NCCL_SOCKET_IFNAME", "eth0"),
        ("HF_DATASETS_CACHE", "/var/tmp/datasets"),
        ("PASSES", "2"),
        ("CUDA_DEVICE_MAX_CONNECTIONS", "1"),
        ("KEYRING", "none"),
        ("CUDA_LAUNCH_BLOCKING", "1"),
        ("MLFLOW_TRACKING_URI", "https://mlflow.example"),
    ],
)
def test_what_is_no_secret_is_allowed(name: str, value: str):
    parse_launchers({"launchers": {"spot": {"engine": "local", "environment": {name: value}}}})


def test_the_settings_name_a_launcher_of_the_file(tmp_path: Path):
    file = tmp_path / "launchers.yaml"
    file.write_text("launchers: {here: {engine: local}, rays: {engine: ray, url: 'http://127.0.0.1:8265'}}\n")
    offers = load_offers(TrainerSettings(launchers_file=file, launcher="here"), tmp_path)
    assert sorted(offers) == ["here", "rays"]
    with pytest.raises(InvalidRequest, match="'there' is not in"):
        load_offers(TrainerSettings(launchers_file=file, launcher="there"), tmp_path)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        load_offers(TrainerSettings(launchers_file=tmp_path / "none.yaml"), tmp_path)
    assert load_offers(TrainerSettings(), tmp_path) == {}
