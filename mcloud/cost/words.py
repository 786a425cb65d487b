"""Money and counts as texts."""

from decimal import Decimal

from mcloud.market.trade import to_text


def usd(amount: Decimal) -> str:
    """Return dollars for a person: cents, and as many digits below them as needed to show a
    value.
    """
    sign = "-" if amount < 0 else ""
    size = abs(amount)
    if size == 0:
        return "$0"
    if size >= 1:
        return f"{sign}${size:,.2f}"
    if size < Decimal("0.000001"):
        return f"{sign}<$0.000001"
    places = max(2, 1 - size.adjusted())
    return f"{sign}${size:.{places}f}"


def plain(number: Decimal | None, places: int = 9) -> str | None:
    """Return a number as a text, rounded to ``places`` digits."""
    return None if number is None else to_text(round(number, places) + Decimal(0))


def percent(part: Decimal, whole: Decimal) -> Decimal:
    return 100 * part / whole if whole else Decimal(0)
