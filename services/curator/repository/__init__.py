"""SQL of the curator. It writes schema `curator` only and reads a little of `trainer` and `deployer`."""
