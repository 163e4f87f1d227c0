"""What the evaluator does with each evaluation: load, decide, save, announce."""
