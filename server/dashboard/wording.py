"""Numbers and names as a reader wants them: "three", "70 kB", "0.842", "rounds 3 and 7 to 9"."""

from collections.abc import Iterable
from math import ceil, floor, isfinite, log10

_WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
DASH = "–"


def number(value: object) -> float | None:
    """`value` as a float if it is a finite number, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def count(value: object) -> str:
    """A whole number with thousands separated, "12,345"; a dash where there is none."""
    known = number(value)
    return DASH if known is None else f"{known:,.0f}"


def counted(amount: int, noun: str) -> str:
    """`counted(3, "hospital")` is "three hospitals"; above twelve in digits."""
    word = _WORDS[amount] if 0 <= amount < len(_WORDS) else f"{amount:,}"
    if amount == 1:
        return f"{word} {noun}"
    return f"{word} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def fraction(value: object) -> str:
    """A score between 0 and 1 with three decimals; a dash where there is none."""
    known = number(value)
    return DASH if known is None else f"{known:.3f}"


def amount(value: object, unit: str = "", *, like: float | None = None) -> str:
    """A quantity with three significant digits and its unit, "2.10 d"; a dash where there is none.

    like: another quantity, as exactly as which it is written.
    """
    known = number(value)
    if known is None:
        return DASH
    size = known if like is None else like
    decimals = 2 if size == 0 else min(6, max(0, 2 - floor(log10(abs(size)))))
    return f"{known:,.{decimals}f} {unit}".rstrip()


def percent(value: float) -> str:
    """A fraction as whole percent, "31 %"; only exactly none is "0 %", only exactly all "100 %"."""
    if 0 < value < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 <= value < 1 else f"{100 * value:.0f} %"


def at_most(bound: float) -> str:
    """A bound with two significant digits, rounded up so that it still holds: 0.00123 gives "0.0013"."""
    if bound <= 0:
        return "0"
    decimals = max(0, 1 - floor(log10(bound)))
    return f"{ceil(round(bound * 10**decimals, 6)) / 10**decimals:.{decimals}f}".rstrip("0").rstrip(".")


def size(octets: float) -> str:
    """A number of bytes in decimal units, "70 kB", "2.1 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if octets < 1000 or unit == "GB":
            break
        octets /= 1000
    return f"{octets:.0f} {unit}" if octets >= 10 or unit == "bytes" else f"{octets:.1f} {unit}"


def duration(seconds: float) -> str:
    """ "12 seconds", "4 min 05 s", "2 h 10 min"."""
    if seconds < 99.5:
        rounded = f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}"
        return "1 second" if rounded == "1.0" else f"{rounded} seconds"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def title_of(name: str) -> str:
    """A key as a heading: "length_of_stay_days" gives "Length of stay days"."""
    spaced = name.replace("_", " ").strip() or name
    return spaced[:1].upper() + spaced[1:]


def shorten(text: str, limit: int = 22) -> str:
    """At most `limit` characters, with an ellipsis where something was cut."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def rounds_text(rounds: Iterable[int]) -> str:
    """ "round 3", "rounds 3 and 7 to 9": consecutive rounds are drawn together."""
    runs: list[list[int]] = []
    for each in sorted(set(rounds)):
        if runs and each == runs[-1][1] + 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    parts = [text for first, last in runs for text in _span(first, last)]
    text = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"round {text}" if len(runs) == 1 and runs[0][0] == runs[0][1] else f"rounds {text}"


def _span(first: int, last: int) -> list[str]:
    if last - first < 2:
        return [str(each) for each in range(first, last + 1)]
    return [f"{first} to {last}"]
