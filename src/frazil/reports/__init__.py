"""Reports on training runs and their maps: pages to read, not files to compute with."""
