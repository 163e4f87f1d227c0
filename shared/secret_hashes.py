"""How the secret of a key is stored: random as it is, one SHA-256 is enough."""

import hashlib


def calculate_secret_hash(secret: str) -> bytes:
    """Return what is stored of a random secret."""
    return hashlib.sha256(secret.encode()).digest()
