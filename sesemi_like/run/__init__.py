"""A run, from a composed config to its summary: `prepare`, then `execute` what its mode says."""
