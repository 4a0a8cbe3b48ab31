"""Side by side with the reference client. ``make bench`` runs them."""
