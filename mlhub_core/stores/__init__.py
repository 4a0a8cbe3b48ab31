"""Where final files go; everything of our own state stays on a local disk."""
