"""A real DVC tracks datasets and candidates, gives back the same bytes, and trains the same candidate again."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app
from services.curator.datasets.adapters import DatasetContent, write_dataset
from tests.unit.trainer.tiny_model import list_texts, make_pairs, save_tiny_model

pytestmark = [pytest.mark.ops, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
RECIPE = {"name": "tiny", "method": "dpo", "max_steps": 4, "batch_size": 4, "precision": "fp32", "seed": 0}


@pytest.fixture(scope="module")
def dvc(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`DVC`, else one in an environment of its own: its dependencies are not ours."""
    if configured := os.environ.get("DVC"):
        return configured
    folder = tmp_path_factory.mktemp("dvc")
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", "dvc"], check=True)
    return str(folder / "bin" / "dvc")


@pytest.fixture
def repository(dvc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository without git, with a folder as its remote."""
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    folder = tmp_path / "repository"
    folder.mkdir()
    run(dvc, folder, "init", "--no-scm")
    run(dvc, folder, "remote", "add", "-d", "store", str(tmp_path / "remote"))
    return folder


def run(dvc: str, folder: Path, *arguments: str) -> str:
    done = subprocess.run([dvc, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def freeze(home: Path) -> str:
    pairs = make_pairs(24)
    rows: Any = {"train": pairs[:20], "validation": pairs[20:], "labels": [], "sft": [], "safety": []}
    content = DatasetContent("cd" * 32, rows, {"counts": {"train": 20}}, "---\n---\n# Card\n", [])
    return write_dataset(home / "datasets", content).name


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def hash_files(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_is_pulled_is_what_was_pushed(dvc: str, repository: Path, tmp_path: Path) -> None:
    dataset = freeze(tmp_path / "home")
    invoke("dataset", "push", dataset[:8], "--repository", repository, "--dvc", dvc)
    invoke("dataset", "push", dataset[:8], "--repository", repository, "--dvc", dvc)
    pushed = hash_files(repository / "datasets" / dataset)
    shutil.rmtree(repository / "datasets" / dataset)
    shutil.rmtree(repository / ".dvc" / "cache")
    run(dvc, repository, "pull", f"datasets/{dataset}.dvc")
    assert (
        hash_files(repository / "datasets" / dataset) == pushed == hash_files(tmp_path / "home" / "datasets" / dataset)
    )


def test_repro_trains_the_same_candidate_again(dvc: str, repository: Path, tmp_path: Path) -> None:
    dataset = freeze(tmp_path / "home")
    base = save_tiny_model(tmp_path / "base", texts=[text for pair in make_pairs(24) for text in list_texts(pair)])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    frozen = tmp_path / "home" / "datasets" / dataset
    train = ["heliotrope", "train", recipe, "--base", base, "--dataset", frozen, "--output", tmp_path / "out"]
    subprocess.run([*map(str, train), "--threads", "1"], check=True, cwd=ROOT)
    candidate = tmp_path / "out" / "candidate"
    options = ["--name", "first", "--dataset", dataset, "--recipe", recipe, "--base", base, "--repository", repository]
    invoke("model", "push", candidate, *options, "--dvc", dvc)
    assert "up to date" in run(dvc, repository, "status")
    lock = (repository / "dvc.lock").read_text()
    run(dvc, repository, "repro", "--force", "train-first")
    assert (repository / "dvc.lock").read_text() == lock
    assert hash_files(repository / "models" / "first") == hash_files(candidate)
