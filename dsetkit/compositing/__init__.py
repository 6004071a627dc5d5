"""(seed, index) to a recipe, and a recipe to a composite and its mask."""
