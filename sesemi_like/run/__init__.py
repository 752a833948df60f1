"""A run, from a composed config to its summary: it is prepared, then its mode is executed."""
