"""What a set of configurations covers: counts that can be merged, what is missing, a figure."""
