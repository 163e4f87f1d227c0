"""One pure module for each source."""
