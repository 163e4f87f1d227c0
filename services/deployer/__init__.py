"""Gate report in, rollout out: approval, canary stages, a way back at every step."""
