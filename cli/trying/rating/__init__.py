"""`heliotrope try --rate`: a local page on which one person compares both models' answers, blind."""
