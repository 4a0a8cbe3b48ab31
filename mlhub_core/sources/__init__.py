"""What datasets come from: a hub's catalog archive, an archive on disk, whatever is added."""
