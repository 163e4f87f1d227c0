"""The generated reference of all settings is fresh, and says what each is for."""

from pathlib import Path

from cli.doctor.configuration import GROUPS, list_variables
from cli.reference import list_rows, render

ROOT = Path(__file__).parents[3]


def test_the_reference_is_what_the_settings_say():
    assert (ROOT / "docs" / "configuration.md").read_text() == render(), "run: make config-docs"


def test_every_variable_is_in_it():
    said = render()
    assert [variable for variable in list_variables() if f"`{variable}`" not in said] == []


def test_nearly_every_setting_says_what_it_is_for():
    silent = [name for group in GROUPS for name, _, meaning in list_rows(group) if not meaning]
    assert silent == ["LOG_LEVEL"]
