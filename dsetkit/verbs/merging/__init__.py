"""Several datasets, or the parts of one, become one."""
