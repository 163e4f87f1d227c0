"""The console's routes: pages, and the forms on them."""
