"""What a gate is and what it says: values in, values out."""
