"""How sea ice moved between two radar scenes.

`images` puts two scenes on one grid, `pyramid` makes coarser copies, `first_guess` finds the large displacements,
`matching` compares patterns, `tracking` goes from coarse to fine and back, `quality` says what to believe,
`deformation` differentiates, `field` is the result and the way to it, `files` and `figure` write it.
"""
