"""What to do to the weights: one file a method."""
