"""Losses on the features of a network."""
