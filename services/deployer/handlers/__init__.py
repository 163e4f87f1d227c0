"""What the deployer does: load, decide, save, announce."""
