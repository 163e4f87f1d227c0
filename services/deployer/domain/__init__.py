"""What the deployer decides, as values."""
