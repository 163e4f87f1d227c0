"""`make bench-gateway`: our gateway, the LiteLLM proxy and no proxy at all, in front of one mock model server."""
