"""Who signed in, said by the deployer and signed, for a minute: services take an assertion as they take a key."""

import base64
import binascii
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from shared.errors import Unauthenticated
from shared.signing import ASSERTION, Signature, SignatureInvalid, Signer, Verifier

PREFIX = "as_"
LIFETIME = timedelta(seconds=60)
CLOCK_SKEW = timedelta(seconds=5)
MAX_CHARACTERS = 2_000


@dataclass(frozen=True)
class Assertion:
    """`until` is a Unix time in seconds."""

    account_id: str
    role: str
    until: float


def issue_assertion(account_id: str, role: str, signer: Signer, now: datetime) -> str:
    """Return the token that opens, for a minute, what the role may do."""
    payload = json.dumps(asdict(Assertion(account_id, role, (now + LIFETIME).timestamp()))).encode()
    return f"{PREFIX}{_encode(payload)}.{_encode(signer.sign(ASSERTION, payload).sig.encode())}"


def read_assertion(token: str, verifier: Verifier, now: datetime) -> Assertion:
    """Return what a token says, once its signature and its time are found good.

    Raises:
        Unauthenticated: it is no assertion, too old, of a time to come, or not signed by the deployer.
    """
    try:
        if len(token) > MAX_CHARACTERS:
            raise ValueError
        payload, signature = (_decode(part) for part in token.removeprefix(PREFIX).split("."))
        verifier.verify(ASSERTION, payload, Signature("", signature.decode("ascii")))
        assertion = Assertion(**json.loads(payload))
    except (ValueError, TypeError, binascii.Error, SignatureInvalid) as error:
        raise Unauthenticated("this is no assertion that the deployer signed") from error
    left = assertion.until - now.timestamp()
    if not 0 < left <= (LIFETIME + CLOCK_SKEW).total_seconds():
        raise Unauthenticated("the assertion has expired: ask the deployer for another")
    return assertion


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text, altchars=b"-_", validate=True)
