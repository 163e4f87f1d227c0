"""Whether paraphrases come to one side of the gate, and what is too near to it."""
