"""What the curator touches besides Postgres and the bus."""
