"""Ice charts made of maps: regions of like mixture with their egg codes, and the files that services exchange."""
