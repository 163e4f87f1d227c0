"""Guards: judge the logged metrics of a run."""
