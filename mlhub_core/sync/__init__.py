"""Keeping a download as the catalog is: what is new or different is fetched, and nothing else."""
