"""Maps: edges, polygons, files, pictures, summaries."""
