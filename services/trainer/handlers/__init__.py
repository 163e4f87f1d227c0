"""Load, decide, save, announce."""
