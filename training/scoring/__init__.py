"""Metrics, protocols, baselines, and how scores are shown."""
