"""The deployer's SQL: its own schema, and what it reads of the trainer's and the curator's."""
