"""Writes exports to any address that fsspec knows, and to the Hugging Face Hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from local.errors import StackFailed

HUB = "hf://"


def write_files(files: Mapping[str, bytes], address: str) -> None:
    """Write files under an address: a folder, `s3://bucket/place`, whatever fsspec knows.

    Raises: StackFailed: it could not be written; or something is there already.
    """
    try:
        storage, folder = fsspec.core.url_to_fs(address)
        if storage.exists(folder) and storage.ls(folder):
            raise StackFailed(f"there is something at {address} already: name an empty place")
        for name, content in files.items():
            path = f"{folder.rstrip('/')}/{name}"
            storage.makedirs(path.rpartition("/")[0], exist_ok=True)
            storage.pipe_file(path, content)
    except (OSError, ValueError, ImportError) as error:
        raise StackFailed(f"{address} could not be written: {error}") from error


def read_files(folder: Path, pattern: str) -> dict[str, bytes]:
    """Read the files of a folder that match, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}


def dump_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def push_to_hub(files: Mapping[str, bytes], address: str) -> str:
    """Push to `hf://owner/name`, a private dataset unless it exists, in one commit; returns where it is.

    Raises: StackFailed: the hub refuses, or does not answer.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    repository = address.removeprefix(HUB).strip("/").removeprefix("datasets/")
    if repository.count("/") != 1:
        raise StackFailed(f"{address} is not hf://owner/name")
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    try:
        api = HfApi()
        api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        commit = api.create_commit(repository, operations, repo_type="dataset", commit_message="Export from Heliotrope")
    except Exception as error:  # the client's transport, and so what it raises, differs by its version
        raise StackFailed(f"the hub does not take {repository}: {error}") from error
    return str(commit.commit_url)
