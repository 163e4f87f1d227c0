"""Training over several processes: the launcher, what processes agree on, and the hardware they find."""
