"""What may be written in a recipe, and how `heliotrope recipe check` explains mistakes."""

from pathlib import Path

from typer.testing import CliRunner

from cli.main import app
from services.trainer.domain.recipe.reasons import REASONS
from services.trainer.domain.recipe.reference import explain_mistake, list_fields, render_reference

ROOT = Path(__file__).parents[3]


def check(tmp_path: Path, text: str) -> tuple[int, str]:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    result = CliRunner().invoke(app, ["recipe", "check", str(file)])
    return result.exit_code, result.output


def test_every_field_has_a_reason_and_every_reason_a_field():
    assert {field.path for field in list_fields()} == set(REASONS)


def test_the_page_says_what_the_code_does():
    assert (ROOT / "docs" / "recipes.md").read_text() == render_reference()


def test_a_recipe_without_mistakes_is_summed_up():
    result = CliRunner().invoke(app, ["recipe", "check", str(ROOT / "recipes" / "demo.yaml")])
    assert result.exit_code == 0
    assert "demo: dpo, 40 steps, 160 examples" in result.output


def test_every_mistake_is_explained_those_of_one_group_too(tmp_path: Path):
    code, output = check(
        tmp_path, "name: mine\nmethod: magic\nlearning_rat: 1\nlearning_rate: 2e-3\nlora: {r: 0, alpha: x}\n"
    )
    assert code == 1
    lines = dict(line.split(": ", 1) for line in output.splitlines())
    assert set(lines) == {"method", "learning_rat", "learning_rate", "lora.r", "lora.alpha"}
    assert "did you mean learning_rate?" in lines["learning_rat"]
    assert "write 2.0e-3" in lines["learning_rate"]
    assert "allowed: whole number >= 1" in lines["lora.r"]
    assert "dpo" in lines["method"]


def test_a_group_that_is_no_group_is_explained():
    assert explain_mistake("guards", "Expected `object`, got `int`").startswith(
        "a group of: eval_patience, max_adjustments"
    )


def test_a_file_that_is_not_there_or_not_yaml_is_one_message(tmp_path: Path):
    result = CliRunner().invoke(app, ["recipe", "check", str(tmp_path / "none.yaml")])
    assert (result.exit_code, "cannot be read" in result.output) == (1, True)
    code, output = check(tmp_path, "name: [unclosed")
    assert (code, "not valid YAML" in output) == (1, True)
