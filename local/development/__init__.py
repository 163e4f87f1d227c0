"""Commands for who works on Heliotrope itself: `make lint` and `make lock` run them."""
