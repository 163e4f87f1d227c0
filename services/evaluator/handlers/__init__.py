"""What the evaluator does: opening, generating, voting, closing, announcing."""
