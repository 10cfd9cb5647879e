"""Segmaps: where they come from, and how they are made smaller, larger and simpler."""
