"""A real Argilla, server and client, takes our export, and what it exports makes the same pairs.

Its search index (Elasticsearch) is left out; records come from its database.
"""

import json
import os
import subprocess
import time
import venv
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from cli.exchange.exports.argilla import derive_export
from cli.exchange.exports.writing import dump_json, write_files
from cli.exchange.found import Preferred
from local.servers.programs import find_valkey
from tests.production.test_upgrade import find_port
from tests.unit.exchange.reading_files import read_files
from tests.unit.exchange.test_exports import ROWS, expect, import_again, list_pairs

pytestmark = [pytest.mark.ops, pytest.mark.timeout(1500)]

SAMPLES = Path(__file__).parent / "samples"
KEY = "owner.apikey"
READY_SECONDS = 300.0


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`ARGILLA_PYTHON`, else one with Argilla in an environment of its own: its dependencies are not ours."""
    if configured := os.environ.get("ARGILLA_PYTHON"):
        return configured
    folder = tmp_path_factory.mktemp("argilla")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet"]
    subprocess.run([*pip, "argilla==2.8.0", "argilla-server==2.8.0"], check=True)
    subprocess.run([*pip, "click<8.2"], check=True)  # its command line is of before
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return os.environ | {
        "ARGILLA_HOME_PATH": str(home),
        "ARGILLA_DATABASE_URL": f"sqlite+aiosqlite:///{home}/argilla.db",
        "ARGILLA_SEARCH_ENGINE": "none",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
    }


@pytest.fixture(scope="module")
def url(python: str, environment: dict[str, str]) -> Iterator[str]:
    """The address of a server with one owner and one workspace."""
    valkey, port = find_port(), find_port()
    own = environment | {"ARGILLA_REDIS_URL": f"redis://127.0.0.1:{valkey}/0"}
    address = f"http://127.0.0.1:{port}"
    users = ["create", "--username", "owner", "--first-name", "Ines", "--role", "owner", "--password", "12345678"]
    with ExitStack() as stack:
        start(stack, own, find_valkey(), "--port", str(valkey), "--bind", "127.0.0.1", "--save", "")
        for words in (["migrate"], ["users", *users, "--api-key", KEY, "--workspace", "team"]):
            subprocess.run([python, "-m", "argilla_server", "database", *words], env=own, check=True)
        server = start(stack, own, python, str(SAMPLES / "serve_argilla.py"), str(port))
        deadline = time.monotonic() + READY_SECONDS
        while not answers(f"{address}/api/v1/version"):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield address


def start(stack: ExitStack, environment: dict[str, str], *command: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(command, env=environment, cwd=environment["ARGILLA_HOME_PATH"])
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)
    return process


def answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=5).is_success
    return False


def test_what_argilla_is_given_comes_back_as_the_same_pairs_and_a_persons_answer_stands_before_ours(
    python: str, environment: dict[str, str], url: str, tmp_path: Path
) -> None:
    export = derive_export("lamps", ROWS)
    write_files({name: dump_json(content) for name, content in export.files.items()}, str(tmp_path / "export"))
    again = tmp_path / "again"
    again.mkdir()
    command = [python, str(SAMPLES / "use_argilla.py"), url, KEY, str(tmp_path / "export"), str(again)]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr

    for name in ("records.json", "flat.json"):
        store, refused = import_again("argilla", again / name)
        assert refused == {}
        assert list_pairs(store) == expect(ROWS[:-1]), name

    corrected = (again / "corrected.txt").read_text()
    [before, after] = [
        {one.answer.partition(":")[0]: one.says.key for one in found.feedback if isinstance(one.says, Preferred)}
        for found, _ in (read_files("argilla", [again / name]) for name in ("records.json", "corrected.json"))
    ]
    assert before.keys() == after.keys() == {one["id"] for one in json.loads((again / "records.json").read_text())}
    assert {record for record in before if before[record] != after[record]} == {corrected}
