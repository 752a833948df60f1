"""Private parts of Hydra and OmegaConf that have no public equivalent."""
