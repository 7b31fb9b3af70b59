"""The standing measure on real ice: see benchmarks/real_scores.py."""
