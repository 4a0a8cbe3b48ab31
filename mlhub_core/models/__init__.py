"""Objects over the MLHub API: datasets, collections and models."""
