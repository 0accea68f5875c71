"""Patches as pure functions: JSON patch, JSON merge patch, strategic merge patch. What is patched is never changed in place."""
