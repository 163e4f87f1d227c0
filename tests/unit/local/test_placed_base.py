"""A vLLM that starts, and starts again, serves the base that was placed or none: the script that its container runs."""

import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

SCRIPT = Path(__file__).parents[3] / "helm" / "heliotrope" / "files" / "serve-verified.sh"
MODEL = {
    "config.json": "{}",
    "tokenizer_config.json": '{"chat_template": "x"}',
    "model-00001.safetensors": "weights",
    "original/notes.txt": "words",
}


class Base:
    """A base that was placed, and a `vllm` that writes down what it is started with."""

    def __init__(self, room: Path) -> None:
        source, self.folder, self._commands = room / "source", room / "base", room / "bin"
        for name, content in MODEL.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(content)
        placed = CliRunner().invoke(app, ["model", "place", str(source), str(self.folder)])
        assert placed.exit_code == 0, placed.output
        self.settings = dict(line.split("=") for line in placed.stdout.replace("\n/", "/").split())
        self._commands.mkdir()
        (self._commands / "vllm").write_text('#!/bin/sh\necho "$@"\n')
        (self._commands / "vllm").chmod(0o755)

    def start(self, **changes: str) -> subprocess.CompletedProcess[str]:
        own = {"PATH": f"{self._commands}:{os.environ['PATH']}"}
        command = ["sh", str(SCRIPT), "shop", "--enable-lora", "--port", "8000"]
        return subprocess.run(command, env=own | self.settings | changes, capture_output=True, text=True, timeout=30)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path)


def test_what_was_placed_is_served_under_its_name_at_each_start(base: Base) -> None:
    for _ in range(2):
        started = base.start()
        assert started.returncode == 0, started.stderr
        assert started.stdout == f"serve {base.folder} --served-model-name shop --enable-lora --port 8000\n"


def replace_weights(base: Base) -> None:
    (base.folder / "model-00001.safetensors").write_text("evil")


def replace_weights_and_sums(base: Base) -> None:
    replace_weights(base)
    sums = subprocess.run(["sha256sum", *MODEL], cwd=base.folder, capture_output=True, check=True)
    (base.folder / "SHA256SUMS").write_bytes(sums.stdout)


def remove_weights(base: Base) -> None:
    (base.folder / "model-00001.safetensors").unlink()


def plant_weights(base: Base) -> None:
    (base.folder / "model-00002.safetensors").write_text("evil")


def plant_hidden_file(base: Base) -> None:
    (base.folder / "original" / ".evil.py").write_text("evil")


def link_weights(base: Base) -> None:
    elsewhere = base.folder.parent / "elsewhere"
    (base.folder / "model-00001.safetensors").rename(elsewhere)
    (base.folder / "model-00001.safetensors").symlink_to(elsewhere)


def empty_sums(base: Base) -> None:
    (base.folder / "SHA256SUMS").write_text("")


@pytest.mark.parametrize(
    "harm",
    (
        replace_weights,
        replace_weights_and_sums,
        remove_weights,
        plant_weights,
        plant_hidden_file,
        link_weights,
        empty_sums,
    ),
)
def test_whatever_somebody_changed_is_not_served_after_a_restart(base: Base, harm: object) -> None:
    assert base.start().returncode == 0
    assert callable(harm)
    harm(base)
    started = base.start()
    assert (started.returncode, started.stdout) == (1, "")
    assert "shop is not served" in started.stderr


@pytest.mark.parametrize("sums", ("", "0" * 64, "x"))
def test_without_the_sums_that_were_printed_nothing_is_served(base: Base, sums: str) -> None:
    started = base.start(HELIOTROPE_BASE_SUMS=sums)
    assert (started.returncode, started.stdout) == (1, "")


def test_without_a_folder_vllm_starts_by_name_and_says_that_nobody_verified_it(base: Base) -> None:
    started = base.start(HELIOTROPE_BASE_FILES="")
    assert started.stdout == "serve shop --enable-lora --port 8000\n"
    assert "unverified" in started.stderr
