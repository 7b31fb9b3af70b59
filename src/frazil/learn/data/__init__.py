"""What networks learn from and are scored on: patches, scenes, imagettes, photographs."""
