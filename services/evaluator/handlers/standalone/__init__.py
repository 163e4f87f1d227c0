"""An evaluation of any two models, without the rest of the system."""
