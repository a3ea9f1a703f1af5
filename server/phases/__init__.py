"""The phases of a run, one file each. Every vector that a site sends passes the summing seam in server/sums.py."""
