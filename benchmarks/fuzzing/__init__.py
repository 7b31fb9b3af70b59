"""The standing attack on frazil's readers: see benchmarks/fuzz.py."""
