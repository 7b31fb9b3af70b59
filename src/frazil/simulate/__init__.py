"""Simulated scenes whose truth is known: world, backscatter, instrument, product."""
