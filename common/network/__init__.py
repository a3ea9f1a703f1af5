"""What hospitals and their coordinator send each other before a run: requests, invitations, certificates."""
