"""Training methods: each trains what its recipe says with TRL, and saves the outcome."""
