"""The policy as people write it: a YAML file."""

from pathlib import Path

import yaml

from services.evaluator.domain.policy import Policy, parse_policy
from shared.errors import InvalidRequest


def load_policy(path: Path | None) -> Policy:
    """Return the policy in this file; without one every gate has its default.

    Raises:
        InvalidRequest: no such file, not YAML, or the policy is wrong.
    """
    if path is None:
        return Policy()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest(f"no policy can be read from {path}: {error}") from error
    return parse_policy(content if content is not None else {})
