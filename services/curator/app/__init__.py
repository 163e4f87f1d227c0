"""The two processes of the curator, put together."""
