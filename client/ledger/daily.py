"""How often something happened today: a coordinator that asks bad questions without end must not fill a disk."""

MOST_A_DAY = 1000
"""Refusals of one code that are written down on one day (UTC); further ones are only counted."""


class Daily:
    """Counts by name; yesterday's are forgotten. day: UTC, as ISO 8601."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[str, int]] = {}

    def count(self, name: str, day: str) -> int:
        of_day, count = self._counts.get(name, (day, 0))
        return count if of_day == day else 0

    def add(self, name: str, day: str) -> int:
        """One more; returns how many there are now."""
        count = self.count(name, day) + 1
        self._counts[name] = day, count
        return count
