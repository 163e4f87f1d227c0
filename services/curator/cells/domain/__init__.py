"""Pure rules over embeddings."""
