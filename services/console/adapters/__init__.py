"""What the console reaches: sessions in Redis, the services' APIs, templates."""
