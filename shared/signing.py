"""Ed25519 signatures in DSSE's manner: what is signed says what it is, so that no signature serves for something else.

A private key is 32 bytes in base64 and is held by one process; verifiers hold public keys, several at once, so that
keys rotate: first every verifier learns the new public key, then the signer signs with it, then the old one goes.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from shared.errors import HeliotropeError

BACKUP = "application/vnd.heliotrope.backup+json"
MODEL = "application/vnd.in-toto+json"
ROUTING = "application/vnd.heliotrope.routing+json"
APPROVAL_POLICY = "application/vnd.heliotrope.approval-policy+json"
ASSERTION = "application/vnd.heliotrope.assertion+json"
KEY_BYTES = 32


class SignatureInvalid(HeliotropeError):
    """Something is not signed by a key that is trusted, or was changed since."""

    title = "Not signed by a trusted key"
    status = 409


@dataclass(frozen=True)
class Signature:
    """`keyid` is only a hint; `sig` is base64 over kind and payload."""

    keyid: str
    sig: str


def generate_key() -> str:
    """Draw a private key."""
    return base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def derive_public_key(private_key: str) -> str:
    """Derive the public half, in base64. Raises: ValueError."""
    return Signer(private_key).public_key


class Signer:
    """Signs with one private key."""

    def __init__(self, private_key: str) -> None:
        """Raises: ValueError: it is no key."""
        self._key = Ed25519PrivateKey.from_private_bytes(_decode_key(private_key))
        self.public_key = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, kind: str, payload: bytes) -> Signature:
        """Sign a payload as what it is."""
        signature = self._key.sign(_encode(kind, payload))
        return Signature(calculate_key_id(self.public_key), base64.b64encode(signature).decode())

    def derive_key(self, purpose: str) -> str:
        """Derive another private key: the same for the same purpose, and no way back from it to this one."""
        derivation = HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode())
        return base64.b64encode(derivation.derive(self._key.private_bytes_raw())).decode()


def load_signer(key: SecretStr) -> Signer | None:
    """Load the signer of a setting; None where it is empty. Raises: ValueError."""
    text = key.get_secret_value()
    return Signer(text) if text else None


class Verifier:
    """Knows the public keys that are trusted for one purpose."""

    def __init__(self, public_keys: Sequence[str]) -> None:
        """Raises: ValueError: one of them is no key."""
        self._keys = [Ed25519PublicKey.from_public_bytes(_decode_key(key)) for key in public_keys]

    def __bool__(self) -> bool:
        return bool(self._keys)

    def verify(self, kind: str, payload: bytes, signature: Signature) -> None:
        """Check that one of the keys signed this payload as this kind. Raises: SignatureInvalid."""
        try:
            raw = base64.b64decode(signature.sig, validate=True)
        except (binascii.Error, ValueError) as error:
            raise SignatureInvalid("the signature is not in base64") from error
        if not any(_is_signed(key, raw, _encode(kind, payload)) for key in self._keys):
            raise SignatureInvalid(f"no trusted key has signed this (the signature names key {signature.keyid[:16]!r})")


def calculate_key_id(public_key: str) -> str:
    """Return the first 16 hex digits of the public key's SHA-256."""
    return hashlib.sha256(_decode_key(public_key)).hexdigest()[:16]


def _is_signed(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _encode(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def _decode_key(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a key is 32 bytes in base64") from error
    if len(raw) != KEY_BYTES:
        raise ValueError("a key is 32 bytes in base64")
    return raw
