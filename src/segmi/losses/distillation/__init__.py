"""Losses between networks: peers that learn from each other, teachers that do not learn."""
