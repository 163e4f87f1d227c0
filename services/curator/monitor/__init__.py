"""The drift monitor: detectors, and the policy that decides when to retrain."""
