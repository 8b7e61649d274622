"""Secrets of the environment, kept out of what is written."""

import os
import re
from collections.abc import Mapping

SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?(_|$)", re.IGNORECASE)
SHORTEST = 8  # characters: a shorter value may well be a word of the text


def redact(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the text with the value of every variable that is named like a secret replaced by ${oc.env:NAME}.

    A config that is read back takes the value from the environment.
    """
    for name, value in environment.items():
        if len(value) >= SHORTEST and SECRET_NAME.search(name):
            text = text.replace(value, f"${{oc.env:{name}}}")
    return text
