"""The Lightning Trainer of a run."""
