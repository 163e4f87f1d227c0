"""Reward functions: on the deployment's list or not run at all, without secrets, within a deadline, finite."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from services.trainer.adapters.artifacts.recipe_files import load_recipe  # noqa: E402
from services.trainer.adapters.rewards.child import find_landlock  # noqa: E402
from services.trainer.adapters.rewards.functions import find_reward_function  # noqa: E402
from services.trainer.adapters.rewards.process import RewardProcess  # noqa: E402
from services.trainer.domain.recipe.parsing import parse_recipe  # noqa: E402
from services.trainer.domain.recipe.reward_functions import check_listed  # noqa: E402
from services.trainer.domain.training import RewardRules, TrainingFailed  # noqa: E402
from shared.errors import InvalidRequest  # noqa: E402
from tests.unit.trainer.methods.runs import make_job, train  # noqa: E402
from tests.unit.trainer.quiet_reporter import QuietReporter  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`.*gradient_checkpointing.*` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

CODE = '''
import os, sys, time

def count_e(prompts, completions, **_):
    """The share of an answer's characters that are an e."""
    print("noise on stdout")
    texts = [completion[0]["content"] for completion in completions]
    return [text.count("e") / max(len(text), 1) for text in texts]

def hang(prompts, completions):
    time.sleep(3600)

def fail(prompts, completions):
    raise LookupError("no such\\nanswer")

def nan(prompts, completions):
    return [0.5] * (len(completions) - 1) + [float("nan")]

def short(prompts, completions):
    return [0.5]

def words(prompts, completions):
    return ["good"] * len(completions)

def leave(prompts, completions):
    os._exit(3)

def flood(prompts, completions):
    return [1.0] * 100_000

def spy(prompts, completions):
    def try_to(act):
        try:
            return float(bool(act()))
        except OSError:
            return 0.0

    def read(path):
        with open(path, "rb") as file:
            return file.read()

    place = os.path.dirname(__file__)
    secret, model = (os.path.join(place, "..", "..", name) for name in ("secret", "model"))
    outside = [
        lambda: read(f"/proc/{os.getppid()}/environ"),
        lambda: read(f"/proc/{os.getppid()}/mem"),
        lambda: os.readlink(f"/proc/{os.getppid()}/fd/0"),
        lambda: read(f"/proc/{os.getppid()}/maps"),
        lambda: read(secret),
        lambda: open(os.path.join(place, "planted.py"), "w"),
    ]
    inside = [
        lambda: open("notes", "w").write("own folder"),
        lambda: read(os.path.join(place, "__init__.py")),
        lambda: read(model),
    ]
    signal = try_to(lambda: os.kill(os.getppid(), 0) is None)
    return [sum(map(try_to, outside)), sum(map(try_to, inside)), signal]

def lock(prompts, completions):
    import multiprocessing
    with multiprocessing.get_context("spawn").Lock():
        return [1.0] * len(completions)

def count_secrets(prompts, completions):
    open_files = len(os.listdir("/proc/self/fd"))
    secrets = [name for name in os.environ if "HELIOTROPE" in name]
    return [len(secrets), open_files, "torch" in sys.modules]
'''
NAMES = ("count_e", "hang", "fail", "nan", "short", "words", "leave", "flood", "spy", "lock", "count_secrets")
ANSWERS = [[{"role": "assistant", "content": text}] for text in ("eee", "ee--", "none")]
WITHIN_30_SECONDS = RewardRules(seconds=30.0)
PROMPTS = [[{"role": "user", "content": "Well?"}]] * 3


def install(folder: Path, code: str = CODE, names: Sequence[str] = NAMES) -> Path:
    """Lay a package out as pip would."""
    package, facts = folder / "tiny_rewards", folder / "tiny_rewards-1.0.dist-info"
    package.mkdir(parents=True)
    facts.mkdir()
    (package / "__init__.py").write_text(code)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-rewards\nVersion: 1.0\n")
    points = "\n".join(f"{name} = tiny_rewards:{name}" for name in [*names, "missing"])
    (facts / "entry_points.txt").write_text(f"[heliotrope.reward_functions]\n{points}\n")
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def ask(name: str, rules: RewardRules = WITHIN_30_SECONDS) -> list[float]:
    with RewardProcess(find_reward_function(f"tiny-rewards:{name}"), rules) as process:
        return process.score(PROMPTS, ANSWERS)


def test_a_function_scores_answers_in_another_process(package: Path):
    assert ask("count_e") == pytest.approx([1.0, 0.5, 0.25])
    assert "tiny_rewards" not in sys.modules


def test_it_sees_no_secret_and_no_open_connection(package: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HELIOTROPE_TRAINER_MANIFEST_KEY", "a secret")
    with (package / "a file").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        secrets, open_files, has_torch = ask("count_secrets")
    assert (secrets, has_torch) == (0.0, 0.0)
    assert open_files == 7  # three streams that lead nowhere and their source, two pipes, and the listed folder


@pytest.mark.skipif(not find_landlock(), reason="this kernel has no Landlock")
def test_it_looks_into_no_other_process_and_no_file_that_is_not_its_own(package: Path, tmp_path: Path):
    for name in ("secret", "model"):
        (tmp_path / name).write_text("what the deployment holds")
    outside, inside, signal = ask("spy", replace(WITHIN_30_SECONDS, readable=(str(tmp_path / "model"),)))
    assert (outside, inside) == (0.0, 3.0)
    assert signal == 0.0 or find_landlock() < 6


@pytest.mark.skipif(not find_landlock(), reason="this kernel has no Landlock")
def test_locks_need_shared_memory_which_a_deployment_may_name(package: Path):
    with pytest.raises(TrainingFailed, match="failed: PermissionError"):
        ask("lock")
    assert ask("lock", replace(WITHIN_30_SECONDS, writable=("/dev/shm",))) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("fail", "tiny-rewards:fail failed: LookupError: no such answer"),
        ("nan", "gave nan as a reward, 1 of 3 are no finite numbers"),
        ("short", "gave 1 rewards for 3 answers"),
        ("words", "failed: ValueError: could not convert string to float"),
        ("leave", "ended, or answered too much at once"),
        ("flood", "ended, or answered too much at once"),
        ("missing", "failed: AttributeError"),
    ],
)
def test_what_is_wrong_with_a_function_fails_the_run(package: Path, name: str, problem: str):
    with pytest.raises(TrainingFailed, match=problem) as failure:
        ask(name)
    assert failure.value.cause == "setup"


def test_a_function_that_hangs_is_killed_at_the_deadline(package: Path):
    process = RewardProcess(find_reward_function("tiny-rewards:hang"), RewardRules(seconds=5.0))
    with process:
        began = time.monotonic()
        with pytest.raises(TrainingFailed, match="did not answer within 5 s"):
            process.score(PROMPTS, ANSWERS)
        assert time.monotonic() - began < 30
        assert process._process.returncode == -9


def test_its_hash_is_that_of_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hashes = []
    for name, code in (("a", CODE), ("b", CODE), ("c", CODE + "\n# another\n")):
        folder = install(tmp_path / name, code)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            hashes.append(find_reward_function("tiny-rewards:count_e").sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_package_that_is_not_installed_or_declares_no_such_function_is_named(package: Path):
    with pytest.raises(TrainingFailed, match="package 'no-such-rewards' of"):
        find_reward_function("no-such-rewards:count_e")
    with pytest.raises(TrainingFailed, match="declares no 'count_o'"):
        find_reward_function("tiny-rewards:count_o")


SCORED: dict[str, Any] = {
    "reward_function": "tiny-rewards:count_e",
    "sampling": {"max_new_tokens": 12, "answers_per_prompt": 8, "cut_off_penalty": 0.0},
    "batch_size": 32,
    "kl_coefficient": 0.0,
    "tuning": "full",
    "learning_rate": 1e-2,
}


def test_a_function_off_the_list_is_refused_and_its_field_is_named(package: Path, tmp_path: Path, parent: Path):
    recipe = parse_recipe({"name": "e", "method": "grpo", "max_steps": 1} | SCORED)
    with pytest.raises(InvalidRequest, match="is not on this deployment's list") as refusal:
        check_listed(recipe, {"tiny-rewards:count_o"})
    assert [error.field for error in refusal.value.errors] == ["reward_function"]
    check_listed(recipe, {"tiny-rewards:count_e"})
    (tmp_path / "sneaky.yaml").write_text(
        "{name: sneaky, method: ladder, stages: [{name: e, method: grpo, max_steps: 1, reward_function: 'os:system'}]}"
    )
    with pytest.raises(InvalidRequest, match=r"stages\[0\].reward_function: 'os:system' is not on") as refusal:
        load_recipe(tmp_path, "sneaky", reward_functions={"tiny-rewards:count_e"})
    assert load_recipe(tmp_path, "sneaky", reward_functions={"os:system"}).stages[0].reward_function == "os:system"
    with pytest.raises(
        TrainingFailed, match="reward_function: 'tiny-rewards:count_e' is not on this deployment's list"
    ):
        train(make_job(tmp_path, parent, method="grpo", max_steps=1, **SCORED))


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_a_policy_learns_what_a_function_rewards(package: Path, tmp_path: Path, parent: Path, method: str):
    reporter, job = QuietReporter(), make_job(tmp_path, parent, method=method, max_steps=20, save_steps=20, **SCORED)
    rules = RewardRules(frozenset({"tiny-rewards:count_e"}), 30.0)
    trained = train(replace(job, rewards=rules), reporter)
    rewards = [metrics["reward"] for _, metrics in reporter.metrics if "reward" in metrics]
    assert sum(rewards[-5:]) / 5 > 2 * sum(rewards[:5]) / 5
    assert trained.lineage["reward_function"] == "tiny-rewards:count_e"
    assert trained.lineage["reward_function_sha256"] == find_reward_function("tiny-rewards:count_e").sha256
