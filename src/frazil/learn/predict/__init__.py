"""From a scene, or imagettes, and a model to a map."""
