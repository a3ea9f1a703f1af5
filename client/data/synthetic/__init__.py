"""Synthetic hospitals from a documented causal model with known true risks; docs/synthetic.md has the equations."""

from client.data.synthetic.cohort import Cohort, generate
from client.data.synthetic.hospitals import DEFAULT_HOSPITALS, CaseMix, Hospital, hospitals
from client.data.synthetic.hourly import generate_hourly
from client.data.synthetic.risks import true_risks
from client.data.synthetic.write import write_hospitals

__all__ = [
    "DEFAULT_HOSPITALS",
    "CaseMix",
    "Cohort",
    "Hospital",
    "generate",
    "generate_hourly",
    "hospitals",
    "true_risks",
    "write_hospitals",
]
