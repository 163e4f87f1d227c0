"""`make bench-try`: what `heliotrope try` says of histories whose truth is known."""
