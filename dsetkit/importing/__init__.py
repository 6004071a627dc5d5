"""Pictures and RGB-D of others to datasets."""
