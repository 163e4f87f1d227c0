"""A reward model that penalises harmful answers, then PPO, with and without enough of a KL penalty."""
