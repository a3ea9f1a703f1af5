"""What joining was worth, and honest outputs: made inside the hospital from its own rows. Nothing of it leaves."""
