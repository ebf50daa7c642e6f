"""Widths that a part cannot take exactly."""


def largest_divisor(number: int, ceiling: int) -> int:
    """Return the largest divisor of ``number`` that is not above ``ceiling``: heads of 64 channels on 288 become 48."""
    return next(divisor for divisor in range(min(number, ceiling), 0, -1) if number % divisor == 0)
