"""Predictions of a run: which are made, by whom, and how they become a file."""
