"""From a composed config to a prepared run, and to what its mode leaves behind."""
