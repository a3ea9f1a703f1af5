"""Hours that found no place: when so many are gone that the hourly tables look like a slip, in sentences for the site.

Of long stays most hours are later than the inputs, and a table of several sites has most of its hours elsewhere:
neither is told while most stays here have hours. Sentences hold counts, never a value.
"""

from client.data.cleaned import LATER, NO_HOUR, NO_STAY, REPEATED, Hours
from client.data.columns import hour_need, key_need
from common.plan import Plan

_MOST = 0.5


def unplaced(plan: Plan, hours: Hours, stays: int) -> list[str]:
    """What looks like a slip in the hourly tables. stays: rows of the site, which the hours belong to."""
    if not hours.rows_read or not stays:
        return []
    key, hour = repr(key_need(plan).name), repr(hour_need(plan).name)
    cures = {
        NO_STAY: f"check how {key} is written in both tables",
        NO_HOUR: f"{hour} has to be a whole number of hours, from 0 on",
        REPEATED: f"a stay has one row for each {hour}",
        LATER: f"check that {hour} counts hours from the beginning of the stay; the plan reads the first {plan.hours}",
    }
    empty, left, found = stays - hours.stays, hours.rows_read, []
    for reason, cure in cures.items():
        gone = hours.dropped.get(reason, 0)
        usual = reason in (NO_STAY, LATER) and empty <= _MOST * stays
        if gone > _MOST * left and not usual:
            without = f" and {empty} of {stays} stays are left without an hour" if empty else ""
            found.append(f"hourly tables: {gone} of {left} rows are dropped, {reason}{without}; {cure}.")
        left -= gone  # a row that went for one reason was not looked at for the next
    return found
