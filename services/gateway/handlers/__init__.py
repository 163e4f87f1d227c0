"""Handle a chat request: assign, ask, fall back, record, reply."""
