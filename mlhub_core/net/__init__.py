"""HTTP: what is asked and what an answer means; clients, retries, resuming, sessions of a hub."""
