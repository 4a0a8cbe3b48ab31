"""What a run shows of itself to people: text and pictures, made of what the steps return."""
