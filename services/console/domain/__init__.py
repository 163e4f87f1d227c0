"""Pure rules of the pages: who may see what, and how it is told."""
