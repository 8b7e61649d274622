"""Measures of how well a policy solves problems."""
