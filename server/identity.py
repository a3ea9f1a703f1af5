"""The one place that touches Flower's internal task identity, which `Message` reads outside a running ServerApp."""

from flwr.supercore.task_identity import TaskIdentity


def act_as_coordinator() -> None:
    """Give this process an identity if Flower has not given it one; a test fails loudly when a release moves this."""
    for name in ("run_id", "node_id", "task_id"):
        try:
            getattr(TaskIdentity, name)
        except RuntimeError:
            setattr(TaskIdentity, name, 1)
