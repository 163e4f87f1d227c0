"""Where a prompt belongs: its cell by its embedding, the split of that cell, and how near the gate it is."""
