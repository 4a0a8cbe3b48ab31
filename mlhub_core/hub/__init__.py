"""A hub that anyone can host: the API of MLHub over a directory."""
