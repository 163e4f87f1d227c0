"""Backup, wipe, restore: the loop goes on with the same datasets as if nothing had happened."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pyrage
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
from typer.testing import CliRunner, Result

from cli.main import app
from local.connections import EXISTING, Connections
from local.servers.postgres import create_database, drop_database
from local.stack.preparation import migrate
from local.stack.stack import Stack
from services.curator.app.consumer import CuratorConsumer
from services.curator.datasets.domain.snapshot import Caps
from services.curator.datasets.handlers import freeze_dataset
from services.gateway.adapters.spool import Spool
from shared.bus import Record, encode
from shared.bus.memory import MemoryBroker, MemoryConsumer, MemoryProducer
from shared.consumer import ConsumerLoop
from shared.dead_letters import DeadLetters
from shared.events import AnyEvent
from shared.signing import Signer, generate_key
from shared.tables.curator import Dataset
from tests.builders import EMBEDDER, NOON, make_artifacts, make_choice, make_feedback, make_interaction

WORDS = "kettle lamp radio desk order broke late refund courier friday address shelf clock rug fan vase"
CAPS = Caps(per_user=6, per_prompt=8)


def tell(numbers: range) -> list[AnyEvent]:
    """Two answers to a prompt and a choice between them, for each number."""
    events: list[AnyEvent] = []
    for number in numbers:
        one, other = UUID(int=10 * number + 1), UUID(int=10 * number + 2)
        prompt = " ".join(Random(number).sample(sorted(WORDS.split()), 9))
        for key, answer in ((one, f"Your {prompt} is on its way."), (other, "I know nothing of it at all, sorry.")):
            events.append(make_interaction(key, prompt, answer, served_at=NOON, user=f"user {number}"))
        choice = make_choice(one, other)
        events.append(
            make_feedback(
                10 * number + 3, one, choice, received_at=NOON + timedelta(seconds=number), user=f"user {number}"
            )
        )
    return events


class Curation:
    """The curator's handlers on a stack's database and datasets."""

    def __init__(self, stack: Stack) -> None:
        self._datasets = stack.layout.home / "datasets"
        self._engine = create_engine(stack.connections.database_url)
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)

    def __enter__(self) -> "Curation":
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.dispose()

    def hear(self, events: list[AnyEvent]) -> None:
        broker = MemoryBroker()
        letters = DeadLetters(MemoryProducer(broker), "curator")
        loop = ConsumerLoop(
            "curator", MemoryConsumer(broker, [], "curator"), CuratorConsumer(), self._sessions, letters
        )
        loop.handle_batch([encode(event, source="test") for event in events])

    def freeze(self) -> str:
        with self._sessions() as session, session.begin():
            artifacts = make_artifacts(self._datasets)
            frozen = freeze_dataset(
                session, self._datasets, artifacts, CAPS, embedder=EMBEDDER, parent_version="1", now=NOON
            )
            return frozen.dataset_sha256

    def read_files(self, sha256: str) -> dict[str, bytes]:
        """Of a dataset, from where its row says that they are."""
        with self._sessions() as session:
            folder = Path(session.get_one(Dataset, sha256).uri)
        return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def make_stack(find_port_base: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Stack]]:
    """Makes stacks of nothing but Postgres, with tables; the newest is the one that commands find."""
    for variable in EXISTING.values():
        monkeypatch.delenv(variable, raising=False)
    root = Path(tempfile.mkdtemp(prefix="heliotrope-backup-"))
    root.chmod(0o755)
    made: list[Stack] = []

    def make() -> Stack:
        stack = Stack(root / f"home {len(made)}", find_port_base(), only=("postgres",), throwaway=True)
        monkeypatch.setenv("HELIOTROPE_HOME", str(stack.layout.home))
        monkeypatch.setenv("HELIOTROPE_PORT_BASE", str(stack.layout.port_base))
        stack.up()
        create_database(stack.connections.database_server_url, "heliotrope")
        migrate(stack.connections.database_url)
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.down()
    shutil.rmtree(root)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def back_up(folder: Path, *options: object) -> str:
    """Make a backup; the public key that restore asks for."""
    said = run("backup", folder, *options)
    assert said.exit_code == 0, said.output
    return said.output.partition("HELIOTROPE_BACKUP_PUBLIC_KEYS=")[2].strip()


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["clear", "encrypted"])
def test_after_backup_wipe_and_restore_the_loop_goes_on_with_the_same_datasets(
    make_stack: Callable[[], Stack], tmp_path: Path, is_encrypted: bool
):
    identity, options = tmp_path / "age.key", []
    if is_encrypted:
        secret = pyrage.x25519.Identity.generate()
        identity.write_text(f"# made by age-keygen\n{secret}\n")
        options = ["--encrypt-to", str(secret.to_public())]

    def hidden(folder: Path) -> list[bytes]:
        """All that an encrypted backup shows."""
        return [path.read_bytes() for path in (folder / "backup").rglob("*") if path.is_file() and is_encrypted]

    untouched = make_stack()
    with Curation(untouched) as curation:
        curation.hear(tell(range(1, 40)))
        curation.freeze()
        curation.hear(tell(range(40, 60)))
        expected = curation.freeze()

    stack = make_stack()
    home = stack.layout.home
    with Curation(stack) as curation:
        curation.hear(tell(range(1, 40)))
        first = curation.freeze()
        files = curation.read_files(first)
    waiting = Record("interaction.recorded", b"key", b"an answer that Kafka has not taken yet")
    spool = Spool(home / "gateway" / "spool.sqlite", max_rows=10, max_bytes=10_000)
    spool.start()
    spool.put([waiting]).result(5)
    key = back_up(tmp_path / "backup", *options)
    spool.close()
    secrets = stack.secrets
    assert all(word not in clear for word in (b"on its way", secrets.audit_key.encode()) for clear in hidden(tmp_path))

    stack.down()
    shutil.rmtree(home)
    said = run("restore", tmp_path / "backup", "--public-keys", key, *(["--identity", identity] if options else []))
    assert said.exit_code == 0, said.output

    restored = Stack(home, stack.layout.port_base, only=("postgres",), throwaway=True)
    restored.up()
    try:
        assert restored.secrets == secrets
        with Curation(restored) as curation:
            assert len(files) >= 3
            assert curation.read_files(first) == files
            assert curation.freeze() == first
            curation.hear(tell(range(30, 60)))  # some of it for the second time, as from a bus that was not wiped
            assert curation.freeze() == expected
    finally:
        restored.down()
    assert (home / "gateway" / "spool.sqlite").stat().st_size > 0
    assert (home / "secrets.json").stat().st_mode & 0o077 == 0
    again = Spool(home / "gateway" / "spool.sqlite", max_rows=10, max_bytes=10_000)
    again.start()
    assert again.count() == 1
    again.close()


def test_nothing_is_restored_over_what_is_there_or_from_a_damaged_backup(
    make_stack: Callable[[], Stack], tmp_path: Path
):
    stack = make_stack()
    key = back_up(tmp_path / "backup")
    said = run("backup", tmp_path / "backup")
    assert (said.exit_code, "is not empty" in said.stderr) == (1, True)
    said = run("restore", tmp_path / "backup", "--public-keys", key)
    assert (said.exit_code, "is not empty" in said.stderr) == (1, True)
    stack.down()
    shutil.rmtree(stack.layout.home)
    (tmp_path / "backup" / "heliotrope.dump").write_bytes(b"not what it was")
    said = run("restore", tmp_path / "backup", "--public-keys", key)
    assert (said.exit_code, "damaged: heliotrope.dump" in said.stderr) == (1, True)
    assert not stack.layout.home.exists()
    said = run("restore", tmp_path, "--public-keys", key)
    assert (said.exit_code, "no complete backup" in said.stderr) == (1, True)
    said = run("restore", tmp_path / "backup")
    assert (said.exit_code, "who may have signed it" in said.stderr) == (1, True)
    said = run("restore", tmp_path / "backup", "--public-keys", Signer(generate_key()).public_key)
    assert (said.exit_code, "signature is wrong" in said.stderr) == (1, True)


def test_an_existing_server_is_restored_into_an_empty_database(
    database_url: str,
    stores: Connections,
    tmp_path: Path,
    find_port_base: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HELIOTROPE_PORT_BASE", str(find_port_base()))
    monkeypatch.setenv("HELIOTROPE_DATABASE_URL", database_url)
    monkeypatch.setenv("HELIOTROPE_MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    said = run("keys", "create", "desk", "--role", "ops")
    assert said.exit_code == 0, said.output
    monkeypatch.setenv("HELIOTROPE_BACKUP_PUBLIC_KEYS", back_up(tmp_path / "backup"))
    shutil.rmtree(tmp_path / "home")
    said = run("restore", tmp_path / "backup")
    assert (said.exit_code, "restore into an empty one" in said.stderr) == (1, True)
    assert not (tmp_path / "home").exists(), "what was begun is taken away again"
    name = f"heliotrope_restored_{uuid4().hex[:12]}"
    try:
        monkeypatch.setenv("HELIOTROPE_DATABASE_URL", create_database(stores.database_server_url, name))
        said = run("restore", tmp_path / "backup")
        assert said.exit_code == 0, said.output
        assert "desk" in run("keys", "list").stdout
    finally:
        drop_database(stores.database_server_url, name)
