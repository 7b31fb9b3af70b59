"""Studies that need both the learning and the map branch, and the pages that tell of any study."""
