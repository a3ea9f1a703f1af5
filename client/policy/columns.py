"""Which columns of this hospital's own tables a plan reads, whatever for, by the names that they have there."""

from client.config import SiteConfig
from client.data.columns import column_of, hour_needs, label_needs, row_needs
from common.plan import Plan


def columns_read(config: SiteConfig, plan: Plan) -> dict[str, list[str]]:
    """Column of the tables -> what the plan reads it as, in words. What this site does not record is not in it."""
    read: dict[str, list[str]] = {}
    for need in dict.fromkeys((*row_needs(plan), *label_needs(plan), *hour_needs(plan))):
        column = column_of(config, need)
        if column:
            read.setdefault(column, []).append(f"{need.role} {need.name}")
    return read
