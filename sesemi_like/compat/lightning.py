"""Private parts of Lightning that have no public equivalent."""
