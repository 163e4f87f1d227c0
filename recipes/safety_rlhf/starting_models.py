"""What the runs of PPO begin with: the start that misbehaves, and the reward model."""

from dataclasses import dataclass
from pathlib import Path

from recipes.command import Options, Progress, train
from recipes.freezing import freeze
from recipes.safety_rlhf.judge_base import write_judge_base
from recipes.safety_rlhf.make_data import DATA

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Beginning:
    dataset: Path
    start: Path
    reward_model: Path


def prepare(options: Options, say: Progress) -> Beginning:
    """Return the start that misbehaves, and the reward model."""
    dataset = freeze(DATA, options.output / "datasets")
    start = train(FOLDER / "start.yaml", options, say, base=options.base, dataset=dataset, name="start")
    judge_base = write_judge_base(options.base, options.output / "judge-base")
    reward = train(FOLDER / "reward.yaml", options, say, base=judge_base, dataset=dataset, name="reward")
    return Beginning(dataset, start / "candidate", reward / "candidate")


def find_beginning(earlier: Path) -> Beginning:
    dataset = next(path for path in (earlier / "datasets").iterdir() if path.is_dir())
    return Beginning(dataset, earlier / "start/candidate", earlier / "reward/candidate")
