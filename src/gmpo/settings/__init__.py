"""All settings, each with its kind, unit and a line of text."""
