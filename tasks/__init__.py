"""Prefect tasks: thin wrappers over functions of the core. No logic here."""
