"""Deployments name flows; see README.md beside this file."""
