"""Sources of randomised configurations, one per file."""
