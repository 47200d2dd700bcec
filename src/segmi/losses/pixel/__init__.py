"""Controls: losses without mutual information that would explain a gain of one with it."""
