"""HTTP: feedback and interactions in, what a caller said of an answer out."""
