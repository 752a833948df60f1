"""What is known of a run's data before it starts, and what is wrong with them."""
