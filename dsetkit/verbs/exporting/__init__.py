"""The formats of `export`: one module each, and what they share."""
