"""What can be done with an existing dataset, one module or package for each verb."""
