"""SQL of the drift monitor: what it looks at, and what it leaves."""
