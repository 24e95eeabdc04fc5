"""Write numbers with as many digits as they deserve."""


def significant(value: float, digits: int = 4) -> str:
    """Write a finite number with so many significant digits, integer digits never rounded away.

    Below 1e-4 and from 1e7 the form is scientific with at most three digits, `3.00e-7`.
    """
    if value == 0:
        return "0"
    exponent = _exponent(value, digits)
    if not -4 <= exponent < 7:
        mantissa, _, power = f"{value:.{min(digits, 3) - 1}e}".partition("e")
        return f"{mantissa}e{int(power)}"
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def with_error(mean: float, error: float | None, digits: int = 4) -> tuple[str, str]:
    """Write a mean and its standard error, the error with two significant digits and both alike.

    Without an error the mean gets `digits` significant digits and the error is empty.
    """
    if error is None:
        return significant(mean, digits), ""
    if error == 0:
        return significant(mean, digits), "0"
    exponent = _exponent(error, 2)
    if exponent < -7 or exponent >= 7:
        return significant(mean, digits), significant(error, 2)
    decimals = max(0, 1 - exponent)
    return f"{mean:.{decimals}f}", f"{error:.{decimals}f}"


def exact(value: float | None) -> str:
    """Write a number for a machine to read back, ten significant digits; nothing for None."""
    return "" if value is None else f"{value:.10g}"


def _exponent(value: float, digits: int) -> int:
    """Return the decimal exponent of |value| after rounding to so many digits (9.99 -> 10.0)."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])
