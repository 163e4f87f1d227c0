"""The demo: a shop's support assistant, its simulated users, and the loop shown live."""
