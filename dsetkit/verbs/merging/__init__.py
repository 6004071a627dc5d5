"""merge: several datasets, or the shards of one from several places, become one dataset."""
