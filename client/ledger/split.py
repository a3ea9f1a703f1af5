"""The name, in a site's ledger, of the division of its patients into sets."""

import hashlib

from client.config import SiteConfig
from common.plan import Plan
from common.privacy.mechanism import split_name


def split_here(config: SiteConfig, plan: Plan, dataset: str) -> str:
    """SHA-256, in hexadecimal, of the plan's division as this site has it.

    dataset: fingerprint of the rows. Other rows are another division: where a new export gave every patient another
    identifier, whoever was trained on before may be tested on now, and pays for both.
    """
    told = [split_name(plan), config.columns.get(plan.data.patient, plan.data.patient), dataset]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()
