"""An evaluator without its threads."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from services.evaluator.adapters.datasets import load_training_questions
from services.evaluator.adapters.models import fetch_model
from services.evaluator.api import create_router
from services.evaluator.handlers.completion import CompletionHandler
from services.evaluator.handlers.generation import GenerationHandler
from services.evaluator.handlers.voting import VoteHandler
from services.evaluator.settings import EvaluatorSettings
from shared.auth import KeyRing, create_key, load_keys
from shared.bus.memory import MemoryBroker
from shared.http import create_app
from shared.registry.memory import MemoryRegistry
from shared.signing import Verifier
from shared.user_hashes import UserHashes
from tests.builders import make_artifacts
from tests.integration.evaluator.scene import POLICY, RATERS, Clock, Room, ScriptedGenerator


@pytest.fixture
def room(database_url: str, tmp_path: Path) -> Iterator[Room]:
    engine = create_engine(database_url)
    sessions = sessionmaker(engine, expire_on_commit=False)
    registry = MemoryRegistry(tmp_path / "artifacts")
    for _ in range(2):
        registry.register("folder", None, {"served_model": str(tmp_path)})
    generator = ScriptedGenerator(
        {
            "1": lambda question: f"Regarding your message, {question} is something that may depend on many things.",
            "2": lambda question: f"Send your order number and I will look into it: {question}",
        }
    )
    settings = EvaluatorSettings(gate_prompts=60, votes_deadline_seconds=600, frozen_suite=False)
    clock, broker = Clock(), MemoryBroker()
    with sessions() as session, session.begin():
        keys = {role: create_key(session, role, role) for role in ("rater", "ops", "admin", "frontend")}
        keys |= {rater: create_key(session, rater, "rater") for rater in RATERS}
    app = create_app("evaluator", checks={})
    app.state.keys = KeyRing(lambda: load_keys(sessions))
    app.state.keys.refresh()
    app.include_router(create_router(VoteHandler(sessions, lambda: UserHashes("secret"), 60.0, 4, clock), sessions))
    artifacts = make_artifacts(tmp_path / "models")
    generation = GenerationHandler(
        sessions,
        registry,
        generator,
        partial(load_training_questions, artifacts),
        partial(fetch_model, artifacts, Verifier([])),
        tmp_path / "datasets",
        settings,
        clock,
        POLICY,
    )
    completion = CompletionHandler(sessions, registry, artifacts, settings, "", clock)
    with TestClient(app) as client:
        yield Room(sessions, registry, generator, settings, clock, broker, generation, completion, client, keys)
    engine.dispose()
