"""What people look at: maps of footprints, pages for notebooks. Values in, text or bytes out."""
