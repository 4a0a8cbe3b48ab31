"""The catalog: its archive, its items, and the asset index made of them."""
