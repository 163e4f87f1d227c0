"""Runs that train elsewhere: what is ordered from whom, within which limits, and how it ended."""
