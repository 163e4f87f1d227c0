"""Pure rules of the drift monitor."""
