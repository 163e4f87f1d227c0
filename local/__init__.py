"""The embedded stack, the servers and processes it consists of, the demo with its simulated users, the chat page."""
