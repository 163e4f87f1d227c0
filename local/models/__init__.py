"""Checkpoints that local stacks start from, and what is trained or measured outside the loop: all that loads torch."""
