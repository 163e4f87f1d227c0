"""The files of a model: whole weights, or a LoRA adapter that names the base it goes on.

An adapter's folder holds `adapter/`, the tokenizer, chat template and configuration of its base, and `base.json`, which
says where that base is. Fetched or trained, it is read through a folder in which `base` leads to the base's files, so
that everything that reads a model takes one folder.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from shared.artifacts.errors import ArtifactCorrupt

ADAPTER, BASE, BASE_FILE = "adapter", "base", "base.json"


@dataclass(frozen=True)
class BaseReference:
    """Where the weights are that an adapter goes on."""

    uri: str
    content_sha256: str | None = None
    weights_sha256: str | None = None
    """Of a base without a manifest: its weights at least are those that were trained on."""


class Fetch(Protocol):
    def __call__(self, uri: str, content_sha256: str | None = None, *, unlisted: bool = False) -> Path:
        """Return a local folder with the artifact's files."""


def is_adapter(folder: Path) -> bool:
    """Tell whether a model's folder holds an adapter in place of weights."""
    return (folder / ADAPTER).is_dir()


def find_base(folder: Path) -> Path:
    """Return the folder of the weights: the model's own, or its adapter's base."""
    return (folder / BASE).resolve() if is_adapter(folder) else folder


def read_base(folder: Path) -> BaseReference | None:
    """Read which base an adapter goes on; None for a model that is whole.

    Raises:
        ArtifactCorrupt: the adapter does not say.
    """
    if not is_adapter(folder):
        return None
    try:
        content = json.loads((folder / BASE_FILE).read_bytes())
        return BaseReference(str(content["uri"]), content.get("content_sha256"), content.get("weights_sha256"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactCorrupt(f"the adapter in {folder} does not say which base it goes on") from error


def explain_unloadable(folder: Path) -> str | None:
    """Explain why a folder is no chat model that can be trained and judged; None when it is one."""
    weights = find_base(folder)
    if not folder.is_dir() or not weights.is_dir():
        return "there is no such folder"
    missing = [name for name in ("config.json", "tokenizer_config.json") if not (folder / name).is_file()]
    if missing:
        return f"it holds no {' and no '.join(missing)}"
    if not any(weights.glob("*.safetensors")):
        return "it holds no safetensors file"
    template = folder / "chat_template.jinja"
    if not template.is_file() and '"chat_template"' not in (folder / "tokenizer_config.json").read_text("utf-8"):
        return "its tokenizer has no chat template"
    return None


def write_base(folder: Path, base: BaseReference) -> None:
    """Write which base the folder's adapter goes on."""
    (folder / BASE_FILE).write_text(json.dumps(asdict(base), indent=2) + "\n", encoding="utf-8")


def compose_model(candidate: Path, base: Path, views: Path) -> Path:
    """Return a folder with the adapter's files and `base`, as links; the same for the same two, made once.

    A model that is whole is returned as it is.
    """
    if not is_adapter(candidate):
        return candidate
    key = hashlib.sha256(f"{candidate.resolve()}\n{base.resolve()}".encode()).hexdigest()[:32]
    view = views.absolute() / key
    if not view.exists():
        views.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=views))
        for path in candidate.resolve().iterdir():
            (draft / path.name).symlink_to(path)
        (draft / BASE).symlink_to(base.resolve())
        draft.chmod(0o755)
        try:
            draft.rename(view)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not view.exists():
                raise
    return view


def fetch_model(
    fetch: Fetch, uri: str, content_sha256: str | None, views: Path, check: Callable[[Path, str | None], None]
) -> Path:
    """Fetch a model and, if it is an adapter, its base; returns the folder to read it through.

    `check` is given the base's folder and what its weights must hash to.

    Raises: as `Artifacts.fetch`, and what `check` raises.
    """
    folder = fetch(uri, content_sha256, unlisted=True)
    reference = read_base(folder)
    if reference is None:
        return folder
    base = fetch(reference.uri, reference.content_sha256, unlisted=True)
    if is_adapter(base):
        raise ArtifactCorrupt(f"the base of {uri} is itself an adapter: {reference.uri}")
    check(base, reference.weights_sha256)
    return compose_model(folder, base, views)
