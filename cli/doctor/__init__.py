"""`heliotrope doctor`: looks at everything that Heliotrope stands on, and says what is wrong and what to do."""
