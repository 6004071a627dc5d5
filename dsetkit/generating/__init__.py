"""The whole run from two folders to a dataset: here, in processes, on a Ray cluster."""
