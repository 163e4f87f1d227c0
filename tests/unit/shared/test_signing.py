"""Signatures: of one kind of thing, by one of several keys."""

import pytest

from shared.signing import BACKUP, MODEL, Signature, SignatureInvalid, Signer, Verifier, derive_public_key, generate_key


def test_one_of_several_trusted_keys_is_enough_so_that_keys_rotate():
    old, new = Signer(generate_key()), Signer(generate_key())
    verifier = Verifier([old.public_key, new.public_key])
    for signer in (old, new):
        verifier.verify(MODEL, b"bytes", signer.sign(MODEL, b"bytes"))
    with pytest.raises(SignatureInvalid):
        Verifier([new.public_key]).verify(MODEL, b"bytes", old.sign(MODEL, b"bytes"))


def test_a_signature_serves_for_these_bytes_as_this_kind_of_thing_only():
    signer = Signer(generate_key())
    verifier, signature = Verifier([signer.public_key]), signer.sign(MODEL, b"bytes")
    for kind, payload in ((MODEL, b"byteS"), (BACKUP, b"bytes"), (MODEL, b"")):
        with pytest.raises(SignatureInvalid):
            verifier.verify(kind, payload, signature)
    for broken in ("", "not base64!", signature.sig[:-4]):
        with pytest.raises(SignatureInvalid):
            verifier.verify(MODEL, b"bytes", Signature(signature.keyid, broken))


def test_without_keys_nothing_is_trusted():
    signer = Signer(generate_key())
    assert not Verifier([])
    with pytest.raises(SignatureInvalid):
        Verifier([]).verify(MODEL, b"", signer.sign(MODEL, b""))


@pytest.mark.parametrize("key", ["", "short", "x" * 44, "A" * 40])
def test_what_is_no_key_is_refused(key: str):
    with pytest.raises(ValueError, match="32 bytes in base64"):
        derive_public_key(key)
