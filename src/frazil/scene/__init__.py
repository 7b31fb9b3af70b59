"""A calibrated scene: opening, land, grids, tiles."""
