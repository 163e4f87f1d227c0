"""Pure rules of what goes into a dataset and how it is described."""
