"""Widths that follow from other widths."""


def fraction(channels: int, share: float) -> int:
    """Return the share of ``channels``, cut to a whole number, at least 1."""
    return max(1, int(channels * share))


def largest_divisor(number: int, ceiling: int) -> int:
    """Return the largest divisor of ``number`` that is not above ``ceiling``: heads of 64 channels on 288 become 48."""
    return next(divisor for divisor in range(min(number, ceiling), 0, -1) if number % divisor == 0)
