"""What a new installation is asked first."""

import subprocess
from pathlib import Path

from typer.testing import CliRunner

from cli.doctor.configuration import list_variables
from cli.main import app


def test_the_version_is_told():
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("heliotrope ")


def test_every_setting_is_in_the_configuration_and_none_is_set(tmp_path: Path):
    file = tmp_path / "own.env"
    assert CliRunner().invoke(app, ["init", str(file)]).exit_code == 0
    text = file.read_text()
    assert [name for name in list_variables() if f"\n#{name}=" not in text] == []
    assert all(line.startswith("#") for line in text.splitlines() if line)


def test_a_shell_reads_what_was_uncommented(tmp_path: Path):
    file = tmp_path / "own.env"
    CliRunner().invoke(app, ["init", str(file)])
    lines = file.read_text().splitlines()
    settings = [line.removeprefix("#") for line in lines if line.startswith("#HELIOTROPE_")]
    file.write_text("\n".join(settings) + "\n")
    said = subprocess.run(
        ["sh", "-euc", f'. "{file}"; echo "$HELIOTROPE_FAMILY $HELIOTROPE_MODEL_SERVER_URLS"'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "heliotrope http://127.0.0.1:8006/v1\n"


def test_a_configuration_that_is_there_stays(tmp_path: Path):
    file = tmp_path / "own.env"
    file.write_text("mine\n")
    result = CliRunner().invoke(app, ["init", str(file)])
    assert result.exit_code == 1
    assert "another file" in result.stderr
    assert file.read_text() == "mine\n"


def test_shells_complete_the_commands():
    result = CliRunner().invoke(app, ["--help"])
    assert "--install-completion" in result.stdout
