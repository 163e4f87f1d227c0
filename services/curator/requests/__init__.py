"""Requests to retrain: opened, announced, closed; and the switch that pauses the loop."""
