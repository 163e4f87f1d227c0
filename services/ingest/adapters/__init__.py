"""Who calls, the bus for an event loop, what the curator knows, and rate limits over several processes."""
