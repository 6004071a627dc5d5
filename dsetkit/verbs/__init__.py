"""What can be done with a dataset that is there, one module for each verb."""
