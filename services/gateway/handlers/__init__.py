"""What the gateway does with a chat request."""
