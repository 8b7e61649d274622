"""How well a policy solves problems."""
