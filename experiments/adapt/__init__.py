"""A new task from few labels on public data: each task of a plan in turn is left out and then added."""
