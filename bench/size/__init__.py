"""What a look of the drift monitor costs, by the size of its tables."""
