"""Datasets and models for other tools."""
