"""Servers from wheels, each a program that the supervisor runs."""
