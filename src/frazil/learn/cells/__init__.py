"""Learning on one scene: a map in cells, few labels spread over them, and where the next label would help most."""
