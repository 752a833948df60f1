"""From a data set to the batches of a step: samplers, workers, collation, seeds."""
