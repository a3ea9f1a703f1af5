"""Stubs: the code that runs is the installed consilium package."""
