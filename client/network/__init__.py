"""A hospital's connection: its request, its coordinator's invitation, and the processes that stay connected."""
