"""What a new installation is asked first: which version it is, and a configuration to begin with."""
