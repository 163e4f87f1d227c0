"""Recipes that run from one command each, with their data and the scores that they are judged by."""
