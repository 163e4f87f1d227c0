"""Files that a run reads and leaves: datasets, recipes, checkpoints, candidates."""
