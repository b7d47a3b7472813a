"""Comparing two generators: what a new bundled one must pass before it takes the old one's place."""
