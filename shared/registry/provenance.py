"""Who made a registered version: a signature over what its tags say of its files and of what it came from.

The tag `signature` is a DSSE envelope around an in-toto statement, as OpenSSF model signing writes them. Its subject
is the manifest's content hash, so that it covers every byte; the registry may be written by many, and a tag that
somebody changed no longer matches.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shared.registry import ModelVersion
from shared.signing import MODEL, Signature, SignatureInvalid, Signer, Verifier

TAG = "signature"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
SIGNED = (
    "content_sha256",
    "served_model",
    "artifact_uri",
    "weights_sha256",
    "dataset_sha256",
    "recipe_sha256",
    "parent_version",
    "training_run_id",
    "adopted",
)
"""Tags that are signed, where a version has them; none of them holds a word or an id of a user."""


def sign_tags(tags: Mapping[str, str], signer: Signer) -> dict[str, str]:
    """Return the tags with a signature over those that matter."""
    payload = json.dumps(_derive_statement(tags), sort_keys=True).encode()
    envelope = {
        "payloadType": MODEL,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [asdict(signer.sign(MODEL, payload))],
    }
    return {**tags, TAG: json.dumps(envelope)}


def check_signed(version: ModelVersion, verifier: Verifier) -> None:
    """Check that a trusted key signed what a version's tags say. Nothing is checked where no key is trusted.

    Raises:
        SignatureInvalid: it is not signed, by somebody else, or a tag was changed since.
    """
    if not verifier:
        return
    name = f"version {version.version}"
    try:
        envelope = json.loads(version.tags[TAG])
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = Signature(**envelope["signatures"][0])
    except (KeyError, IndexError, TypeError, ValueError, binascii.Error) as error:
        raise SignatureInvalid(f"{name} bears no signature") from error
    verifier.verify(MODEL, payload, signature)
    if json.loads(payload) != _derive_statement(version.tags):
        raise SignatureInvalid(f"a tag of {name} was changed after it was signed")


def _derive_statement(tags: Mapping[str, str]) -> dict[str, Any]:
    signed = {name: tags[name] for name in SIGNED if name in tags}
    digest = {"sha256": tags.get("content_sha256", "")}
    return {
        "_type": STATEMENT,
        "subject": [{"name": "manifest.json", "digest": digest}],
        "predicateType": PREDICATE,
        "predicate": signed,
    }
