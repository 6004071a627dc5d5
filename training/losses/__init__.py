"""Losses for depth and mask networks, by name and weight."""
