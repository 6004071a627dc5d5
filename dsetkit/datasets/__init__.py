"""Reading a dataset, writing one, and what it was made from."""
