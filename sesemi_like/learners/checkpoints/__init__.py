"""Checkpoints: written, read, started from and resumed."""
