"""What the deployer reaches over the network."""
