"""The name, in a site's ledger, of the division of its patients into sets."""

import hashlib

from client.config import SiteConfig
from common.plan import Plan
from common.privacy.mechanism import split_name


def split_here(config: SiteConfig, plan: Plan, dataset: str) -> str:
    """SHA-256, in hexadecimal, of the plan's division as this site has it.

    dataset: fingerprint of the rows. Where a column divides them, the division may change with the tables.
    """
    told = [split_name(plan), config.columns.get(plan.data.patient, plan.data.patient)]
    told += [dataset] if plan.split.split_column else []
    return hashlib.sha256("\0".join(told).encode()).hexdigest()
