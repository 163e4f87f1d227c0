"""The API of a source: its pages, fetched and taken apart."""
