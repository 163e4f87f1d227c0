"""What ingest does with a request: submit events to the bus, list what a caller has said."""
