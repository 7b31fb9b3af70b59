"""What experts and charts say about a scene: charts and polygons on a grid, training patches, and honest splits."""
