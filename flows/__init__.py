"""Prefect flows: they compose tasks. No logic here."""
