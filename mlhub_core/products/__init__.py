"""What is made of a download: a local STAC, one table of its items, pairs to train with."""
