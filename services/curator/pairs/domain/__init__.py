"""Pure rules that turn feedback into preference pairs and labels."""
