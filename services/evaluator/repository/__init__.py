"""SQL of the evaluator. It writes schema `evaluator` only and reads a little of `curator` and `deployer`."""
