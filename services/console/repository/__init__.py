"""What the pages read, by a database role that cannot write. Every query ends at a limit or walks an index."""
