"""Scripts that set up what tests and benchmarks need, and count what the house is made of."""
