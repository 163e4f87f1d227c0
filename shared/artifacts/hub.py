"""Models of the Hugging Face hub, at a commit: a name alone may be another model tomorrow."""

import re
from pathlib import Path

from shared.artifacts.errors import ArtifactNotFound, ArtifactStoreUnavailable
from shared.errors import InvalidRequest

SCHEME = "hf://"
ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)@([0-9a-f]{40})")
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
"""No pickles: loading one runs whatever is in it."""


def fetch_model(uri: str, cache: Path) -> Path:
    """Return a local folder with the model's files; the hub's own cache keeps them by commit.

    Raises:
        InvalidRequest: the address names no commit.
        ArtifactNotFound: no such model, or none with this commit.
        ArtifactStoreUnavailable: the hub does not answer, or its client is not installed.
    """
    if not (match := ADDRESS.fullmatch(uri)):
        raise InvalidRequest(f"{uri}: name the model and its commit, hf://owner/name@<40 hexadecimal digits>")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise ArtifactStoreUnavailable(f"{uri} needs the package huggingface_hub") from error
    name, commit = match.groups()
    try:
        return Path(snapshot_download(name, revision=commit, cache_dir=cache, allow_patterns=WANTED))
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ArtifactNotFound(f"nothing at {uri}: {type(error).__name__}") from error
    except Exception as error:
        raise ArtifactStoreUnavailable(f"{uri} could not be reached: {type(error).__name__}: {error}") from error
