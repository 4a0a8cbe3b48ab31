"""Side by side with the reference client, curl and cp (``make bench``)."""
