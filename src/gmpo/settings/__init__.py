"""Every setting: kind, unit and a line of text."""
