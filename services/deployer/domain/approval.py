"""What an admin approves: a hash over the hashes of candidate, dataset, recipe and report."""

import hashlib

import msgspec

_encoder = msgspec.json.Encoder(order="sorted")


def calculate_approval_hash(*, weights: str, dataset: str, recipe: str, report: str) -> str:
    """Return the SHA-256 (hex) over the four hashes; a change of any of them voids an approval."""
    return hashlib.sha256(
        _encoder.encode({"weights": weights, "dataset": dataset, "recipe": recipe, "report": report})
    ).hexdigest()
