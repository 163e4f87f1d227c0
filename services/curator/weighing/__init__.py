"""How likely each pair and label is wrong, judged from all evidence together, and what looks manipulated."""
