"""``python -m frazil``."""

from frazil.cli import main

main()
