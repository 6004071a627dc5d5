"""A teacher's depth into samples: units, edges, and how good the labels are."""
