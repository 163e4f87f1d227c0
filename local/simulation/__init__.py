"""Simulated users of an online shop: what they ask, what they like, and what they click."""
