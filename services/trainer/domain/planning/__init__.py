"""Planning: which run is next, and how much memory, how many processes and which micro-batch it takes."""
