"""A team's own tasks through lm-eval: real runs of it, on tiny models and on a played server."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.evaluator.adapters.task_process import SubprocessTaskRunner
from services.evaluator.handlers.tasks import Champion
from services.evaluator.ports import TaskJob, TasksFailed
from tests.fake_chat import serve_chat
from tests.integration.evaluator.tiny_models import make_checkpoints

RUNNER = SubprocessTaskRunner()
HEAD = """
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}.jsonl}}
test_split: test
"""
SUMS = (
    "task: sums"
    + HEAD.format(data="sums")
    + """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["."], max_gen_toks: 8, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
)
CHOICE = (
    "task: choice"
    + HEAD.format(data="choice")
    + """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
)
DOCUMENTS = 6


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_checkpoints(tmp_path_factory)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks, one that is answered in words and one of likelihoods, six documents each."""
    own = tmp_path / "tasks"
    own.mkdir()
    (own / "sums.yaml").write_text(SUMS)
    (own / "choice.yaml").write_text(CHOICE)
    sums = [{"question": f"What is {n} plus 3?", "answer": str(n + 3)} for n in range(DOCUMENTS)]
    choice = [{"question": f"Is {n} above 2?", "choices": ["yes", "no"], "label": n % 2} for n in range(DOCUMENTS)]
    for name, rows in (("sums", sums), ("choice", choice)):
        (own / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return own


def run(folder: Path, **changes: Any) -> dict[str, bool]:
    return RUNNER.run(TaskJob(folder=str(folder), **changes), lambda: None)


def test_a_model_answers_words_and_choices_and_is_not_asked_twice(
    folder: Path, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    cache = str(tmp_path / "kept")
    answers = run(folder, model=checkpoints["1"], cache=cache)
    assert set(answers) == {f"task:{task}:{n}" for task in ("sums", "choice") for n in range(DOCUMENTS)}
    assert any(answers[f"task:choice:{n}"] for n in range(DOCUMENTS)), "of two choices one is right now and then"
    assert not any(answers[f"task:sums:{n}"] for n in range(DOCUMENTS)), "random weights cannot add"
    assert list(tmp_path.glob("kept*.db"))
    for weights in Path(checkpoints["1"]).glob("*.safetensors"):
        assert weights.stat().st_size  # still there: the second run loads the model, and asks it nothing
    assert run(folder, model=checkpoints["1"], cache=cache) == answers


def test_a_server_answers_tasks_in_words_and_is_paired_with_another(folder: Path) -> None:
    (folder / "choice.yaml").unlink()

    def answer(body: dict[str, Any]) -> str:
        number = int(body["messages"][-1]["content"].split()[2])
        wrong = body["model"] == "new" and number > 3
        return f"<think>add</think>{number + (4 if wrong else 3)}. Anything else?"

    with serve_chat(answer) as chat:
        jobs = [TaskJob(model=f"{chat.url}#{name}", endpoint=True, folder=str(folder)) for name in ("new", "old")]
        beats: list[int] = []
        champion = Champion(RUNNER, jobs[1], lambda: beats.append(1))
        paired = champion.pair(jobs[0])
        assert champion.pair(jobs[1])["solved"] == {f"task:sums:{n}": [True, True] for n in range(DOCUMENTS)}
        assert chat.asked.total() == 3 * DOCUMENTS, "the champion was asked once as such"
    assert paired["solved"] == {f"task:sums:{n}": [n <= 3, True] for n in range(DOCUMENTS)}
    assert len(paired["files_sha256"]) == 64
    assert beats


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("bad.yaml", "task: bad\n  dataset_path: [json", "bad.yaml: "),
        ("bad.yaml", "- a list", "bad.yaml: not a mapping"),
        ("choice.yaml", CHOICE.replace("choice.jsonl", "gone.jsonl"), "gone.jsonl"),
        ("choice.yaml", CHOICE.replace("multiple_choice", "divining"), "divining"),
    ],
    ids=["no YAML", "no mapping", "data not there", "no such output"],
)
def test_a_broken_task_is_told_and_never_passed_over(folder: Path, file: str, content: str, reason: str) -> None:
    (folder / file).write_text(content)
    with serve_chat(lambda body: "1.") as chat, pytest.raises(TasksFailed, match=reason):
        run(folder, model=f"{chat.url}#m", endpoint=True)


def test_a_server_is_not_asked_for_likelihoods_and_one_that_is_away_is_told(folder: Path) -> None:
    with serve_chat(lambda body: "1.") as chat, pytest.raises(TasksFailed, match="keeps its probabilities to itself"):
        run(folder, model=f"{chat.url}#m", endpoint=True)
    (folder / "choice.yaml").unlink()
    with pytest.raises(TasksFailed, match=r"127\.0\.0\.1:9"):
        run(folder, model="http://127.0.0.1:9/v1#m", endpoint=True)


def test_what_is_not_there_and_a_child_that_dies_are_told(folder: Path, tmp_path: Path) -> None:
    for model, tasks in ((str(tmp_path / "gone"), folder), (str(tmp_path), tmp_path / "gone")):
        with pytest.raises(TasksFailed, match="no folder"):
            run(tasks, model=model)
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(TasksFailed, match="no task file"):
        run(empty, model="http://127.0.0.1:9/v1#m", endpoint=True)
    with pytest.raises(TasksFailed, match="status 3"):
        SubprocessTaskRunner(("sh", "-c", "read job; exit 3")).run(
            TaskJob(model="x", endpoint=True, folder=str(folder)), lambda: None
        )
