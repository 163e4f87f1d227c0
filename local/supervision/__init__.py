"""Processes under one supervisor: started in order, watched, stopped, and looked for when they outlive it."""
