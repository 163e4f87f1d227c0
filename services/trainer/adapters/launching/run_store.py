"""The store below a run's output, where its machines seal what they write, and both sides break no seal unseen.

Whoever may write to the store could else replace a candidate before the worker signs it, or a checkpoint before the
next start trains on it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from shared.artifacts import ArtifactCorrupt, Artifacts
from shared.artifacts.manifest import load_note
from shared.signing import Signature, SignatureInvalid, Signer, Verifier

KIND = "application/vnd.heliotrope.run-part"
SEAL = "seal"
"""In the manifest."""
ANYBODY = Verifier([])


@dataclass(frozen=True)
class Seals:
    """One side's keys: `signer` has the run's own; where `verifier` knows none, nothing needs a seal."""

    signer: Signer | None = None
    verifier: Verifier = ANYBODY


NO_SEALS = Seals()


def open_seals(key: str | None, trusted: Sequence[str]) -> Seals:
    """Open the seals of a run's machine.

    Args:
        key: the run's private key, in base64; None: what is written has no seal.
        trusted: public keys, one of which must have sealed what is read; none: anybody may have written it.

    Raises:
        ValueError: one of them is no key.
    """
    return Seals(Signer(key) if key else None, Verifier(trusted))


@dataclass(frozen=True)
class RunStore:
    """Places relative to a run's output; each seal holds for the content and for its place."""

    artifacts: Artifacts
    output: str
    seals: Seals = NO_SEALS

    def locate(self, place: str) -> str:
        """Return a place's address."""
        return f"{self.output}/{place}"

    def upload(self, folder: Path, place: str) -> str:
        """Seal and store a folder; returns the hash that it is known by. Raises: as `Artifacts.upload`."""
        note = partial(_seal, self.seals.signer, place) if self.seals.signer else None
        return self.artifacts.upload(folder, self.locate(place), note)

    def download(self, place: str, folder: Path) -> None:
        """Copy what is at a place into a folder that is not there yet.

        Raises:
            ArtifactCorrupt: it has not the seal of this run at this place.
            HeliotropeError: others, as `Artifacts.download`.
        """
        content_sha256 = self.artifacts.download(self.locate(place), folder)
        if not self.seals.verifier:
            return
        try:
            signature = msgspec.convert(load_note(folder, SEAL), Signature)
            self.seals.verifier.verify(KIND, _describe(place, content_sha256), signature)
        except (msgspec.ValidationError, SignatureInvalid) as error:
            raise ArtifactCorrupt(f"{place} was not written by a machine of this run") from error


def _seal(signer: Signer, place: str, content_sha256: str) -> dict[str, Any]:
    return {SEAL: asdict(signer.sign(KIND, _describe(place, content_sha256)))}


def _describe(place: str, content_sha256: str) -> bytes:
    return f"{place}\n{content_sha256}".encode()
