"""Counters over answers, and the suite that they are held against."""
