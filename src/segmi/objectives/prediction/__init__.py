"""Objectives that look at predictions alone, so that pictures without labels can be trained on."""
