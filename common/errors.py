"""Errors that a person can cause, and what a caller may catch.

ConsiliumError                 one sentence: where, what was found, what is allowed
├── PlanError                  federation.toml or a site's site.toml is wrong
├── DataError                  a table does not keep the data contract
├── ModelFileError             a model file is damaged or is not one of ours
├── NonFiniteUpdate            a vector holds NaN or infinity and must not reach a sum
├── RunError                   a run cannot start, or cannot go on
│   ├── TooFewSites            fewer sites reported than the plan asks for; the run can be resumed
│   └── SumAborted             a secure sum was not opened; nothing was learnt and the model is as it was
└── Refusal                    a site refuses what the coordinator asked; carries a stable code
"""


class ConsiliumError(Exception):
    """Base of every error whose text may be shown to a person as it is."""


class PlanError(ConsiliumError):
    """A federation.toml or site.toml is malformed, incomplete or contradicts itself."""


class DataError(ConsiliumError):
    """A site's table does not keep the plan's data contract."""


class ModelFileError(ConsiliumError):
    """A model file cannot be read, or does not fit its own plan."""


class NonFiniteUpdate(ConsiliumError):
    """A vector holds NaN or infinity: a broken vector must not reach the sum."""


class RunError(ConsiliumError):
    """A run cannot start or go on."""


class TooFewSites(RunError):
    """Fewer sites reported than `aggregation.min_sites`."""


class SumAborted(RunError):
    """A secure sum could not be opened. `about`: the sites that the next attempt leaves out."""

    def __init__(self, text: str, *, about: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.about = about


class Refusal(ConsiliumError):
    """A site refuses a request. Only `code` leaves the site; the text stays in its own log.

    about: another site of the roster whose fault it is, where secure aggregation can tell; empty otherwise.
    """

    def __init__(self, code: str, text: str, *, about: str = "") -> None:
        super().__init__(text)
        self.code, self.about = code, about
