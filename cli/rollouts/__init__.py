"""`heliotrope rollouts|approve|reject|pause|resume|abort|rollback`, through the deployer's API."""
