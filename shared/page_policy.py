"""The Content-Security-Policy of pages that hold everything they show."""

import base64
import hashlib


def hash_source(text: str) -> str:
    """Return what admits this very script or style sheet, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def allow_style_only(style: str) -> str:
    """Return a policy that lets nothing in but this style sheet."""
    return f"default-src 'none'; style-src {hash_source(style)}; base-uri 'none'; form-action 'none'"
