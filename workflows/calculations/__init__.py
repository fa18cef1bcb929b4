"""Calculation jobs with their parsers beside them."""
