"""`heliotrope evaluate`: the composition root of an evaluation without the rest of the system."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as find_version
from pathlib import Path
from typing import Any

from services.evaluator.adapters.cached_generation import CachedGenerator, identify_files
from services.evaluator.adapters.datasets import load_training_questions
from services.evaluator.adapters.generation_process import SubprocessGenerator
from services.evaluator.adapters.kept_replies import KeptReplies
from services.evaluator.adapters.openai_endpoint import EndpointJudge, OpenAIEndpoint, is_endpoint, parse_place
from services.evaluator.adapters.policies import load_policy
from services.evaluator.adapters.prompt_files import read_prompts, read_votes
from services.evaluator.adapters.task_process import SubprocessTaskRunner
from services.evaluator.handlers.standalone.endpoints import EndpointAsker
from services.evaluator.handlers.standalone.evaluation import evaluate
from services.evaluator.handlers.standalone.order import How, Order, Tell, World
from services.evaluator.ports import TaskJob
from shared.artifacts import Artifacts, open_artifacts
from shared.errors import HeliotropeError, InvalidRequest
from shared.rubric import RUBRIC_SHA256
from shared.settings import Settings, load_settings

KEYS = {"candidate": "HELIOTROPE_EVALUATE_KEY_A", "champion": "HELIOTROPE_EVALUATE_KEY_B"}
JUDGE_KEY = "HELIOTROPE_EVALUATE_KEY_JUDGE"


@dataclass(frozen=True)
class Wanted:
    """What was asked for on the command line."""

    candidate: str
    champion: str
    prompts: Path
    output: Path
    how: How
    judge: str | None = None
    votes: Path | None = None
    training: str | None = None
    policy: Path | None = None
    limit: int = 0
    tasks: Path | None = None
    task_documents: int = 0


def evaluate_models(wanted: Wanted, tell: Tell, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Evaluate the candidate against the champion; the report lies in the output folder, replies beside it.

    Raises:
        InvalidRequest: a file that was named cannot be read, or an address is none.
    """
    prompts = read_prompts(wanted.prompts)
    artifacts = open_artifacts(load_settings(Settings))
    order = Order(
        candidate=_locate(wanted.candidate, artifacts),
        champion=_locate(wanted.champion, artifacts),
        prompts=prompts[: wanted.limit] if wanted.limit else prompts,
        output=wanted.output,
        policy=load_policy(wanted.policy),
        how=wanted.how,
        votes=list(read_votes(wanted.votes)) if wanted.votes else (),
        training=_read_training(wanted.training, artifacts),
        tasks=wanted.tasks and wanted.tasks.resolve(),
        task_documents=wanted.task_documents,
    )
    return evaluate(order, _open_world(wanted, environment), tell)


def _locate(place: str, artifacts: Artifacts) -> str:
    """Return an endpoint as it is, and a model's files as a local folder; what is not there is left to the report."""
    if is_endpoint(place):
        parse_place(place)
        return place
    try:
        return str(artifacts.fetch_model(place))
    except HeliotropeError:
        return place


def _read_training(training: str | None, artifacts: Artifacts) -> list[str] | None:
    if training is None:
        return None
    questions = load_training_questions(artifacts, training)
    if not questions:
        raise InvalidRequest(f"no prompts can be read from the dataset {training}")
    return questions


def _open_world(wanted: Wanted, environment: Mapping[str, str]) -> World:
    kept = wanted.output / "kept"
    judge, judged = None, None
    if wanted.judge:
        judge = EndpointJudge(
            OpenAIEndpoint(parse_place(wanted.judge), environment.get(JUDGE_KEY, "")), wanted.how.seed
        )
        judged = KeptReplies.open(kept, {"judge": wanted.judge, "rubric": RUBRIC_SHA256, "seed": wanted.how.seed})
    return World(
        generator=CachedGenerator(SubprocessGenerator(), kept),
        asker=EndpointAsker(kept, {side: environment.get(name, "") for side, name in KEYS.items()}),
        is_endpoint=is_endpoint,
        tasks=SubprocessTaskRunner(),
        derive_task_job=lambda order, side: _derive_task_job(order, side, kept, environment),
        judge=judge,
        judged_before=dict(judged.entries) if judged else {},
        keep_judged=judged.add if judged else lambda entries: None,
        describe=lambda place: _describe_serving(place, wanted.how),
    )


def _derive_task_job(order: Order, side: str, kept: Path, environment: Mapping[str, str]) -> TaskJob:
    """Derive what lm-eval asks a side's model; what it says is kept by the model and the way of asking."""
    place, how = {"candidate": order.candidate, "champion": order.champion}[side], order.how
    of_server = is_endpoint(place)
    identity = [place if of_server or not Path(place).is_dir() else identify_files(place), how.dtype, how.seed]
    kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    return TaskJob(
        model=place,
        endpoint=of_server,
        key=environment.get(KEYS[side], ""),
        folder=str(order.tasks),
        documents=order.task_documents,
        batch_size=how.batch_size,
        dtype=how.dtype,
        seed=how.seed,
        cache=str((kept / f"tasks-{hashlib.sha256(str(identity).encode()).hexdigest()[:32]}").resolve()),
    )


def _describe_serving(place: str, how: How) -> dict[str, Any]:
    if is_endpoint(place):
        return {"endpoint": place}
    return {"engine": {name: find_version(name) for name in ("torch", "transformers")}, "dtype": how.dtype}
