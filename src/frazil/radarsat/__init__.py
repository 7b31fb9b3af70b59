"""RADARSAT-2 and RADARSAT Constellation products: detected images in the geometry of the radar, to scenes."""
