"""Generation that asks no model twice: what it said is kept by its files, the way of asking, and the prompt."""

import hashlib
from collections.abc import Callable
from importlib.metadata import version as find_version
from pathlib import Path
from typing import Any

import msgspec

from services.evaluator.adapters.kept_replies import KeptReplies
from services.evaluator.ports import (
    AnswerGenerator,
    Generated,
    GenerationFailed,
    GenerationJob,
    JobModel,
    JobPrompt,
    Progress,
    Reply,
    ReplyGenerator,
    summarise,
)
from shared.artifacts.models import find_base, is_adapter

ENGINES = ("torch", "transformers")
HOW = ("max_new_tokens", "dtype", "sampling", "seed", "batch_size")
"""What of a job decides an answer; the batch decides what is drawn together."""


def derive_prompt_key(prompt: JobPrompt) -> str:
    """Return the SHA-256 (hex) of what a model is asked, tools included."""
    return hashlib.sha256(msgspec.json.encode([prompt.messages, prompt.tools], order="sorted")).hexdigest()


def identify_files(checkpoint: str) -> str:
    """Return a hash over all files of a model, its adapter's base included.

    Raises:
        GenerationFailed: there is no such folder.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        raise GenerationFailed(f"no checkpoint folder {checkpoint}")
    digest = hashlib.sha256()
    for part in [folder, find_base(folder)] if is_adapter(folder) else [folder]:
        for path in sorted(path for path in part.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(part).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


class CachedGenerator(AnswerGenerator):
    """Answers from `folder` what was answered before, and has `inner` answer the rest."""

    def __init__(self, inner: ReplyGenerator, folder: Path) -> None:
        self._inner, self._folder = inner, folder

    def generate(self, job: GenerationJob, heartbeat: Callable[[Progress | None], None]) -> Generated:
        identities = {model.version: self._identify(job, model) for model in job.models}
        kept = self._open(identities)
        keys = {prompt.prompt_hash: derive_prompt_key(prompt) for prompt in job.prompts}
        known = {version: _find_known(own, keys) for version, own in kept.items()}
        apart = self._open_divergences(job, identities)
        name = _name_set(keys)
        divergences = apart.entries.get(name) if apart else None
        if all(len(own) == len(keys) for own in known.values()) and (apart is None or divergences is not None):
            heartbeat(_finish(job))
            return summarise(known, divergences)

        def keep(version: str, replies: dict[str, Reply]) -> None:
            kept[version].add({keys[prompt_hash]: reply for prompt_hash, reply in replies.items()})

        once = {kept[each.version].path: each for each in reversed(job.models)}
        models = [JobModel(each.version, each.checkpoint, known[each.version]) for each in reversed(once.values())]
        made = self._inner.generate(msgspec.structs.replace(job, models=models), heartbeat, keep)
        if apart and made.divergences is not None:
            apart.add({name: made.divergences})
        return summarise({version: _find_known(own, keys) for version, own in kept.items()}, made.divergences)

    def _open(self, identities: dict[str, dict[str, Any]]) -> dict[str, KeptReplies]:
        """Open each version's replies; versions that are the same model share theirs."""
        files: dict[str, KeptReplies] = {}
        kept = {}
        for version, identity in identities.items():
            name = str(sorted(identity.items()))
            files.setdefault(name, KeptReplies.open(self._folder, identity))
            kept[version] = files[name]
        return kept

    def _identify(self, job: GenerationJob, model: JobModel) -> dict[str, Any]:
        how = {name: getattr(job, name) for name in HOW}
        engines = {name: find_version(name) for name in ENGINES}
        try:
            return {"files": identify_files(model.checkpoint), **how, "engines": engines}
        except GenerationFailed as error:
            raise GenerationFailed(error.detail, version=model.version) from error

    def _open_divergences(self, job: GenerationJob, identities: dict[str, dict[str, Any]]) -> KeptReplies | None:
        """Return where divergences between two models are kept; None for one model, or twice the same."""
        first, last = identities[job.models[0].version], identities[job.models[-1].version]
        return KeptReplies.open(self._folder, {"divergence": [first, last]}) if first != last else None


def _find_known(kept: KeptReplies, keys: dict[str, str]) -> dict[str, Reply]:
    return {
        prompt_hash: msgspec.convert(kept.entries[key], Reply)
        for prompt_hash, key in keys.items()
        if key in kept.entries
    }


def _name_set(keys: dict[str, str]) -> str:
    return hashlib.sha256("\n".join(sorted(keys.values())).encode()).hexdigest()


def _finish(job: GenerationJob) -> Progress:
    total = len(job.models) * len(job.prompts)
    return Progress(done=total, total=total, version=job.models[-1].version)
