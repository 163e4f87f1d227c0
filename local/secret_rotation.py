"""Rotate the secrets that processes are given: what verifies knows the new one before what signs uses it."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from local.credentials import write_private
from local.errors import StackFailed
from shared.signing import calculate_key_id, derive_public_key, generate_key
from shared.user_hash_generations import calculate_fingerprint


@dataclass(frozen=True)
class Kind:
    """A secret that rotates. `private` and `kept` are settings: what is used, and what stays trusted beside it."""

    private: str
    kept: str
    restart: tuple[str, ...]
    """In this order."""
    signs: bool = True
    """Ed25519: `kept` lists public halves, the one in use among them; else former secrets."""


KINDS = {
    "feedback-token": Kind("feedback_token_secret", "feedback_token_previous_secrets", ("ingest", "gateway"), False),
    "trainer-manifest": Kind("trainer_manifest_key", "manifest_public_keys", ("evaluator, deployer", "trainer-worker")),
    "deployer-manifest": Kind("deployer_manifest_key", "manifest_public_keys", ("evaluator, deployer",)),
    "routing": Kind("deployer_routing_key", "gateway_routing_public_keys", ("gateway", "deployer")),
    "assertion": Kind("deployer_assertion_key", "assertion_public_keys", ("all others", "deployer")),
    "backup": Kind("backup_key", "backup_public_keys", ()),
}


class SecretStore(Protocol):
    """Where an installation's secrets are kept, by setting."""

    def read(self, setting: str) -> str:
        """Return a secret; empty if there is none."""

    def write(self, changes: Mapping[str, str]) -> None:
        """Replace these."""


@dataclass(frozen=True)
class FolderSecrets:
    """A file for each setting, as Compose mounts them: `heliotrope_<setting>`."""

    folder: Path

    def read(self, setting: str) -> str:
        """Return a secret; empty if there is none."""
        path = self._path(setting)
        return path.read_text().strip() if path.exists() else ""

    def write(self, changes: Mapping[str, str]) -> None:
        """Replace these, each at once; a file keeps who may read it."""
        for setting, value in changes.items():
            path = self._path(setting)
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
            draft = path.with_suffix(".draft")
            draft.touch(mode=0o600)
            draft.write_text(value)
            draft.chmod(mode)
            draft.replace(path)

    def _path(self, setting: str) -> Path:
        return self.folder / f"heliotrope_{setting}"


LOCAL_NAMES = {"gateway_internal_key": "internal_key", "deployer_audit_key": "audit_key"}


@dataclass(frozen=True)
class LocalSecrets:
    """The local stack's `secrets.json`; the key of its backups has a file of its own."""

    path: Path

    def read(self, setting: str) -> str:
        """Return a secret; empty if there is none."""
        if setting == "backup_key":
            return self._backup_key.read_text().strip() if self._backup_key.exists() else ""
        return str(self._load().get(LOCAL_NAMES.get(setting, setting), ""))

    def write(self, changes: Mapping[str, str]) -> None:
        """Replace these."""
        if backup_key := changes.get("backup_key"):
            draft = self._backup_key.with_suffix(".draft")
            draft.touch(mode=0o600)
            draft.write_text(f"{backup_key}\n")
            draft.replace(self._backup_key)
        others = {LOCAL_NAMES.get(name, name): value for name, value in changes.items() if name != "backup_key"}
        write_private(self.path, self._load() | others)

    @property
    def _backup_key(self) -> Path:
        return self.path.with_name("backup.key")

    def _load(self) -> dict[str, str]:
        return dict(json.loads(self.path.read_text()))


def rotate_secret(kind: Kind, store: SecretStore, *, leaked: bool) -> str:
    """Draw a new secret and return its id. The old one stays trusted, unless it leaked."""
    old, kept = store.read(kind.private), _split(store.read(kind.kept))
    if not kind.signs:
        new = secrets.token_urlsafe(32)
        former = [] if leaked or not old else [old]
        store.write({kind.private: new, kind.kept: _join([*former, *kept])})
        return calculate_fingerprint(new)
    new = generate_key()
    former = [derive_public_key(old)] if old else []
    trusted = [key for key in (*former, *kept) if not (leaked and key in former)]
    store.write({kind.private: new, kind.kept: _join([derive_public_key(new), *trusted])})
    return calculate_key_id(derive_public_key(new))


def drop_former(kind: Kind, store: SecretStore) -> list[str]:
    """Trust nothing any more but what is in use; return the ids of what was dropped.

    Raises:
        StackFailed: another secret that shares the list is not in this store.
    """
    kept = _split(store.read(kind.kept))
    in_use: list[str] = []
    if kind.signs:
        privates = [store.read(each.private) for each in KINDS.values() if each.kept == kind.kept]
        if not all(privates):
            raise StackFailed(f"not every private half behind {kind.kept} is here: take the old one out by hand")
        in_use = [derive_public_key(private) for private in privates]
    store.write({kind.kept: _join(in_use)})
    return [_name(kind, key) for key in kept if key not in in_use]


def describe(kind: Kind, store: SecretStore) -> tuple[str, list[str]]:
    """Return the id of the secret in use (empty if there is none) and of those trusted beside it."""
    used = store.read(kind.private)
    if not used:
        return "", []
    key = derive_public_key(used) if kind.signs else used
    return _name(kind, key), [_name(kind, each) for each in _split(store.read(kind.kept)) if each != key]


def add_user_hash_secret(store: SecretStore) -> int:
    """Draw the next secret that users are hashed with; return how many later ones there are then."""
    later = [*_split(store.read("user_hash_later_secrets")), secrets.token_urlsafe(32)]
    store.write({"user_hash_later_secrets": _join(later)})
    return len(later)


def _name(kind: Kind, key: str) -> str:
    return calculate_key_id(key) if kind.signs else calculate_fingerprint(key)


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _join(texts: Sequence[str]) -> str:
    return ",".join(dict.fromkeys(texts))
