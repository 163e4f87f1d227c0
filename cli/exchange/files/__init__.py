"""Files of records: what is in them, whatever they are called."""
