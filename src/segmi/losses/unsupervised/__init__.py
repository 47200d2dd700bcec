"""Losses that look at predictions alone, so that images without labels can be trained on."""
