"""Private parts of torch that have no public equivalent."""
