"""What an admin approves: a hash over the hashes of candidate, dataset, recipe and report, and where its files are."""

import hashlib

import msgspec

_encoder = msgspec.json.Encoder(order="sorted")


def calculate_approval_hash(
    *, weights: str, dataset: str, recipe: str, report: str, content: str = "", model: str = ""
) -> str:
    """Return the SHA-256 (hex) over these; a change of any of them voids an approval.

    `content` is the hash of the candidate's manifest, `model` what its server is asked for. Candidates of release 0.1.0
    have no manifest: theirs is the hash over the other four.
    """
    hashes = {"weights": weights, "dataset": dataset, "recipe": recipe, "report": report}
    bound = {"content": content, "model": model} if content else {}
    return hashlib.sha256(_encoder.encode(hashes | bound)).hexdigest()
