"""Likelihoods of answers under a model: with padding, or packed without it."""
