"""Values in, values out: who is served what, and what an answer says."""
