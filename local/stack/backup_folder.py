"""A backup's folder: what may stand in it, its signed manifest, and its files, which may be encrypted with age."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from local.errors import StackFailed
from shared.signing import BACKUP, Signature, SignatureInvalid, Signer, Verifier

HOME_FOLDERS = ("datasets", "mlartifacts", "gateway")
HOME_FILES = ("secrets.json", "credentials.json")
DUMPS = ("heliotrope.dump", "mlflow.dump")
MANIFEST = "manifest.json"
"""Written last: a folder without it is no backup."""
SIGNATURE = "manifest.sig.json"
ENCRYPTED = ".age"
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Sealed:
    """A backup whose manifest was verified; its files are, each as it is taken."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def files(self) -> dict[str, str]:
        """Name -> SHA-256 of what stands in the folder."""
        return dict(self.manifest["files"])

    def list_home_files(self) -> list[str]:
        """Return names below `home/`."""
        return [name for name in self.files if name.startswith("home/")]

    def take(self, name: str, target: Path, identity: str | None) -> None:
        """Copy a file to its place, verified while it is read, and decrypted if it is encrypted.

        Raises:
            StackFailed: it is not what the manifest says, or cannot be decrypted.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.draft")
        if _copy_hashed(self.folder / name, draft) != self.files[name]:
            draft.unlink()
            raise StackFailed(f"the backup is damaged: {name}")
        if name.endswith(ENCRYPTED):
            with _removing(draft):
                decrypt(draft, target, identity)
        else:
            draft.replace(target)
        target.chmod(0o600)


def seal(folder: Path, manifest: dict[str, Any], signer: Signer) -> None:
    """Write the manifest over the files that are there, and its signature."""
    names = sorted(path.relative_to(folder).as_posix() for path in walk(folder))
    files = {name: _hash(folder / name) for name in names}
    text = (json.dumps(manifest | {"files": files}, indent=2) + "\n").encode()
    (folder / SIGNATURE).write_text(json.dumps(asdict(signer.sign(BACKUP, text))) + "\n")
    (folder / MANIFEST).write_bytes(text)


def unseal(folder: Path, verifier: Verifier | None) -> Sealed:
    """Verify a backup's manifest, and that nothing but what it names stands in the folder.

    Without a `verifier` the signature is not looked at: whoever could write there could have written anything.

    Raises:
        StackFailed: it is no complete backup, not signed by a trusted key, or holds what does not belong there.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(text)
        files = {str(name): str(digest) for name, digest in manifest["files"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise StackFailed(f"{folder} holds no complete backup: {MANIFEST} cannot be read") from error
    if verifier is not None:
        _verify_signature(folder, text, verifier)
    if strange := sorted(name for name in files if not may_stand(name)):
        raise StackFailed(f"no backup of ours names {strange[0]!r}: nothing is restored from it")
    _check_listing(folder, set(files))
    return Sealed(folder, manifest)


def _verify_signature(folder: Path, text: bytes, verifier: Verifier) -> None:
    try:
        signature = Signature(**json.loads((folder / SIGNATURE).read_bytes()))
        verifier.verify(BACKUP, text, signature)
    except (OSError, ValueError, TypeError) as error:
        raise StackFailed(
            f"{folder} is not signed: {SIGNATURE} cannot be read (--unsigned restores it all the same)"
        ) from error
    except SignatureInvalid as error:
        raise StackFailed(f"the backup's signature is wrong: {error.detail}") from error


def may_stand(name: str) -> bool:
    """Return whether a backup may hold a file of this name: a dump, or something of the home that is backed up."""
    plain = name.removesuffix(ENCRYPTED)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.as_posix() != name or "\\" in name or "\0" in name:
        return False
    if plain in DUMPS:
        return True
    parts = path.parts
    if parts[0] != "home" or len(parts) < 2:
        return False
    return parts[1] in HOME_FOLDERS if len(parts) > 2 else parts[1].removesuffix(ENCRYPTED) in HOME_FILES


def _check_listing(folder: Path, named: set[str]) -> None:
    """Links lead elsewhere, and what nobody named was put there by somebody else."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise StackFailed(f"{name} in the backup is a link: nothing is restored from it")
        if path.is_file() and name not in named | {MANIFEST, SIGNATURE}:
            raise StackFailed(f"{name} stands in the backup and not in its manifest: nothing is restored from it")
    if missing := sorted(name for name in named if not (folder / name).is_file()):
        raise StackFailed(f"the backup is damaged: {', '.join(missing[:5])}")


def walk(folder: Path) -> Iterator[Path]:
    """Yield every plain file below a folder, in order; links are left out, and so is what vanishes meanwhile."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                yield path


def encrypt(source: Path, target: Path, recipients: Sequence[str]) -> None:
    """Encrypt a file with age, for these public keys. Raises: StackFailed."""
    age = _load_age()
    try:
        keys = [age.x25519.Recipient.from_str(recipient) for recipient in recipients]
    except age.RecipientError as error:
        raise StackFailed("encryption needs public keys of age, which begin with age1") from error
    age.encrypt_file(str(source), str(target), keys)


def decrypt(source: Path, target: Path, identity: str | None) -> None:
    """Decrypt a file with a private key of age. Raises: StackFailed."""
    if identity is None:
        raise StackFailed("the backup is encrypted: name the file with age's private key (--identity)")
    age = _load_age()
    try:
        age.decrypt_file(str(source), str(target), [age.x25519.Identity.from_str(identity)])
    except (age.DecryptError, age.IdentityError) as error:
        raise StackFailed(f"the backup cannot be decrypted with this key: {error}") from error


def _load_age() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise StackFailed("encrypted backups need the package pyrage: pip install 'heliotrope[backup]'") from error
    return pyrage


@contextmanager
def _removing(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _copy_hashed(source: Path, target: Path) -> str:
    """What is hashed is what is copied: a file that changes in between is found out."""
    digest = hashlib.sha256()
    flags = os.O_RDONLY | os.O_NOFOLLOW
    with os.fdopen(os.open(source, flags), "rb") as file, os.fdopen(_create(target), "wb") as copy:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_plain(source: Path, target: Path) -> None:
    """Copy a file that nobody else may read. Raises: FileNotFoundError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as file, os.fdopen(_create(target), "wb") as copy:
        shutil.copyfileobj(file, copy, CHUNK_BYTES)
