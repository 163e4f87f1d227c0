"""`heliotrope try`: from somebody's own logs to a verdict on a better model, without the rest of the system."""
