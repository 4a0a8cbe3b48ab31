"""Getting bytes onto disk: the engine, what is already here, and what failed."""
