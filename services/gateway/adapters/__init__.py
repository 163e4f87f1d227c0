"""Clients of model servers, the spool and its relay, sources of routing tables."""
