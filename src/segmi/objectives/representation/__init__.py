"""Objectives on the features of a network."""
