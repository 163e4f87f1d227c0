"""Methods whose policy answers while it is trained, and learns from what its answers are worth."""
