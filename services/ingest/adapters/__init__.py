"""The bus, as an event loop may use it."""
