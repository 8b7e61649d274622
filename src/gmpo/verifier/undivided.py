"""The test for a fraction where the gold answer is a decimal: 57/160 for 0.35625. Decided by notation alone."""

import re

from gmpo.verifier.notation import ParsedAnswer

DECIMAL = re.compile(r"-?\d*\.\d+")
FRACTION = re.compile(r"-?(?:\\frac\s*\{?\s*-?\d+\s*\}?\s*(?:\{\s*(\d+)\s*\}|(\d))|\d+\s*/\s*(\d+))")
POWER_OF_TEN = re.compile(r"10*")
AT_SIGHT = 10  # 9/2 and 3/4 are as good as their decimals


def undivided(answer: ParsedAnswer, gold: ParsedAnswer) -> bool:
    """Return whether an answer equal to the gold answer leaves a division that the gold answer has carried out."""
    fraction = FRACTION.fullmatch(answer.text)
    if fraction is None or DECIMAL.fullmatch(gold.text) is None or answer.percent or gold.percent:
        return False
    below = fraction[1] or fraction[2] or fraction[3]
    return int(below) > AT_SIGHT and POWER_OF_TEN.fullmatch(below) is None
