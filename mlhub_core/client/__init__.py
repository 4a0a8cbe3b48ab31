"""Low-level functions for the endpoints of the MLHub API."""
