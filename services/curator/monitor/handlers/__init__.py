"""Run the drift monitor."""
