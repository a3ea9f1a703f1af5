"""Hour by hour: every encoder of a sequence, federated and pooled, and the comparison that the article asks for."""
