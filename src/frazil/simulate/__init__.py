"""Simulated scenes whose truth is known: world, backscatter, instrument, product."""

from frazil.simulate.instrument import NoiseError
from frazil.simulate.phenomena import PhenomenaConfig
from frazil.simulate.product import simulate_product
from frazil.simulate.quicklook import sample_product
from frazil.simulate.scene import simulate_scene
from frazil.simulate.sea_product import simulate_sea_product
from frazil.simulate.world import WorldConfig

__all__ = [
    "NoiseError",
    "PhenomenaConfig",
    "WorldConfig",
    "sample_product",
    "simulate_product",
    "simulate_scene",
    "simulate_sea_product",
]
