"""Validation that every kind shares: object metadata."""
