"""A team's own tasks through lm-eval: real runs of it, on tiny models and on a played server."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.evaluator.adapters.task_process import SubprocessTaskRunner
from services.evaluator.handlers.tasks import Champion
from services.evaluator.ports import EndpointFailed, TaskJob, TasksFailed
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


def test_a_model_answers_words_and_choices(folder: Path, checkpoints: dict[str, str]) -> None:
    answers = run(folder, model=checkpoints["1"])
    assert set(answers) == {f"task:{task}:{n}" for task in ("sums", "choice") for n in range(DOCUMENTS)}
    assert any(answers[f"task:choice:{n}"] for n in range(DOCUMENTS)), "of two choices one is right now and then"
    assert not any(answers[f"task:sums:{n}"] for n in range(DOCUMENTS)), "random weights cannot add"


def test_a_server_answers_tasks_in_words_and_is_not_asked_twice(folder: Path, tmp_path: Path) -> None:
    (folder / "choice.yaml").unlink()

    def answer(body: dict[str, Any]) -> str:
        number = int(body["messages"][-1]["content"].split()[2])
        return f"<think>add</think>{number + (4 if number > 3 else 3)}. Anything else?"

    with serve_chat(answer) as chat:
        for _ in range(2):
            answers = run(folder, model=f"{chat.url}#m", endpoint=True, cache=str(tmp_path / "kept"))
            assert answers == {f"task:sums:{n}": n <= 3 for n in range(DOCUMENTS)}
            assert chat.asked.total() == DOCUMENTS


def test_the_champion_is_asked_once_however_many_candidates_there_are(tmp_path: Path) -> None:
    asked: list[str] = []

    class Runner:
        def run(self, job: TaskJob, heartbeat: Callable[[], None]) -> dict[str, bool]:
            asked.append(job.model)
            if job.model == "broken":
                raise TasksFailed("no such file")
            return {"task:t:0": job.model != "bad"} | ({"task:t:1": True} if job.model == "more" else {})

    jobs = {name: TaskJob(model=name, folder=str(tmp_path)) for name in ("old", "good", "bad", "more", "broken")}
    champion = Champion(Runner(), jobs["old"], lambda: None)
    assert champion.pair(jobs["good"])["solved"] == {"task:t:0": [True, True]}
    assert champion.pair(jobs["bad"])["solved"] == {"task:t:0": [False, True]}
    assert "the same documents" in champion.pair(jobs["more"])["failure"]
    assert champion.pair(jobs["broken"])["failure"] == "the candidate: no such file"
    assert asked == ["good", "old", "bad", "more", "broken"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("bad.yaml", "task: bad\n  dataset_path: [json", "bad.yaml: "),
        ("bad.yaml", "- a list", "bad.yaml: not a mapping"),
        ("choice.yaml", CHOICE.replace("choice.jsonl", "gone.jsonl"), "gone.jsonl"),
    ],
    ids=["no YAML", "no mapping", "data not there"],
)
def test_a_broken_task_is_told_and_never_passed_over(folder: Path, file: str, content: str, reason: str) -> None:
    (folder / file).write_text(content)
    with serve_chat(lambda body: "1.") as chat, pytest.raises(TasksFailed, match=reason):
        run(folder, model=f"{chat.url}#m", endpoint=True)


def test_a_server_is_not_asked_for_likelihoods_and_one_that_is_away_is_told(folder: Path) -> None:
    from services.evaluator.adapters.task_endpoint import open_model

    model = open_model(TaskJob(model="http://127.0.0.1:9/v1#m", endpoint=True, folder=str(folder)))
    for ask in (model.loglikelihood, model.loglikelihood_rolling):
        with pytest.raises(TasksFailed, match="keeps its probabilities to itself"):
            ask([])
    request = SimpleNamespace(args=(model.apply_chat_template([{"role": "user", "content": "Why?"}]), {"until": []}))
    with pytest.raises(EndpointFailed, match=r"127\.0\.0\.1:9"):
        model.generate_until([request])


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
