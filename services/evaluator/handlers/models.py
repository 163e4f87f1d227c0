"""What the models of an evaluation are asked, and by whom."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.evaluator.domain.measures.suite import SuiteItem, list_items
from services.evaluator.domain.prompts import GatePrompt
from services.evaluator.handlers.entrants import Answered, ask_entrants
from services.evaluator.handlers.tasks import Champion
from services.evaluator.ports import (
    AnswerGenerator,
    Generated,
    GenerationFailed,
    GenerationJob,
    JobModel,
    JobPair,
    JobPrompt,
    Progress,
    Reply,
    TaskJob,
    TaskRunner,
)
from services.evaluator.settings import EvaluatorSettings
from shared.registry import ModelRegistry, ModelVersion


@dataclass(frozen=True)
class Models:
    """Asks registered versions, by their verified files."""

    registry: ModelRegistry
    generator: AnswerGenerator
    fetch_model: Callable[[ModelVersion], Path]
    settings: EvaluatorSettings
    tasks: TaskRunner | None = None

    def ask(
        self,
        champion: str,
        versions: list[str],
        asked: list[JobPrompt],
        pairs: list[JobPair],
        watch: Callable[[Progress | None], None],
    ) -> Answered:
        """Have the champion and every candidate answer, and look at held-out pairs. Raises as `ask_entrants` does."""

        def ask(version: str, known: dict[str, Reply], report: Callable[[Progress | None], None]) -> Generated:
            names = dict.fromkeys((champion, version))
            models = [JobModel(name, self._load_checkpoint(name), known if name == champion else {}) for name in names]
            return self.generator.generate(self._derive_job(models, asked, pairs), report)

        return ask_entrants(versions, champion, asked, ask, watch)

    def run_tasks(self, champion: str, answered: Answered, beat: Callable[[], None]) -> dict[str, dict[str, Any]]:
        """Return, by version, what each candidate that can answer made of the team's own tasks beside the champion."""
        if self.tasks is None or self.settings.tasks is None:
            return {}
        paired = Champion(self.tasks, self._derive_task_job(champion), beat)
        able = [version for version, made in answered.items() if isinstance(made, Generated)]
        return {version: {"tasks": paired.pair(self._derive_task_job(version))} for version in able}

    def list_asked(self, prompts: list[GatePrompt]) -> list[JobPrompt]:
        return [
            *(JobPrompt(prompt.prompt_hash, prompt.messages, prompt.tools) for prompt in prompts),
            *(JobPrompt(item.name, item.messages, item.tools) for item in self.list_suite()),
        ]

    def list_suite(self) -> list[SuiteItem]:
        return list_items() if self.settings.frozen_suite else []

    def _derive_job(self, models: list[JobModel], asked: list[JobPrompt], pairs: list[JobPair]) -> GenerationJob:
        settings = self.settings
        return GenerationJob(
            models=models,
            prompts=asked,
            max_new_tokens=settings.max_new_tokens,
            batch_size=settings.batch_size,
            dtype=settings.dtype,
            sampling=settings.sampling,
            seed=settings.seed,
            pairs=pairs,
        )

    def _derive_task_job(self, version: str) -> TaskJob:
        settings = self.settings
        return TaskJob(
            model=self._load_checkpoint(version),
            folder=str(settings.tasks),
            documents=settings.task_documents,
            batch_size=settings.batch_size,
            dtype=settings.dtype,
            seed=settings.seed,
        )

    def _load_checkpoint(self, version: str) -> str:
        registered = self.registry.load_version(version)
        if "served_model" not in registered.tags:
            raise GenerationFailed(f"version {version} has no tag served_model", version=version)
        return str(self.fetch_model(registered))
