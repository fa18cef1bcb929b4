"""The compute commands: what calculation jobs run, and a person can run by hand."""
