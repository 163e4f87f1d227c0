"""Feedback and interactions in over HTTP, out to the bus; 202 means stored."""
