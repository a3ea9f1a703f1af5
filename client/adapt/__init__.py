"""A new task from few labels: a site adds it to a trained model, and is told what that was worth."""
