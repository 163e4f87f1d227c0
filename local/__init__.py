"""The embedded stack, its supervisor and the demo."""
