"""The running deployment of the canary's integration tests, to do harm to."""

from tests.integration.canary.conftest import leave_no_rollout_open, town

__all__ = ["leave_no_rollout_open", "town"]
