"""Maps from networks that have only learnt what images are called: masking, partial categorisation, activation maps.

Each takes any categoriser (`frazil.learn.models.patch.PatchClassifier`) and an image float32 (1, height, width), and
gives a `ScoreMap`.
"""

from frazil.learn.infer.weak.cam import cam_scores
from frazil.learn.infer.weak.grid import ScoreMap
from frazil.learn.infer.weak.masking import mask_scores
from frazil.learn.infer.weak.partial import part_scores

__all__ = ["ScoreMap", "cam_scores", "mask_scores", "part_scores"]
