"""Reward functions: Python code of installed packages that a recipe may name, run in a process of its own."""
