"""CAM: the last map of a categoriser, weighed as its last layer weighs the mean of it.

References:
    Zhou, B., Khosla, A., Lapedriza, A., Oliva, A., Torralba, A. (2016), Learning deep features for discriminative
        localization. CVPR 2016. doi:10.1109/CVPR.2016.319.
    Colin, A., et al. (2022), Remote Sens. 14, 851, section 3.4 (with biases).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from frazil.errors import ModelError
from frazil.learn.infer.weak.grid import ScoreMap, as_tensor, check_categoriser, trunk_grid
from frazil.learn.models.output import activated, output_of
from frazil.learn.models.patch import PatchClassifier


@torch.inference_mode()
def cam_scores(network: nn.Module, image: np.ndarray) -> ScoreMap:
    """Scores at every element of the last map: one pass, an image of any size.

    The mean of the logits over the map is that of the image; each element goes through the categoriser's softmax or
    sigmoid by itself.

    Args:
        network: a categoriser with one linear layer behind the mean, in evaluation mode.
        image: float (1, height, width); NaN counts as 0.

    Raises:
        ModelError: a network of another kind.
    """
    categoriser = check_categoriser(network)
    logits = cam_logits(categoriser, as_tensor(network, image))
    grid = trunk_grid(categoriser)
    y_at, x_at = (grid.first + np.arange(n) * grid.spacing for n in logits.shape[-2:])
    return ScoreMap(activated(logits, output_of(network))[0].cpu().numpy(), y_at, x_at)


def cam_logits(network: PatchClassifier, x: Tensor) -> Tensor:
    """Logits (batch, class, rows, columns), bias included."""
    layers = [m for m in network.head.modules() if not isinstance(m, nn.Sequential | nn.Dropout | nn.Identity)]
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear):
        raise ModelError(
            f"{type(network).__name__} has {len(layers)} layers behind its last map; activation maps need one linear "
            "layer there, as inception_v3, resnet50 or densenet121 have."
        )
    linear = layers[0]
    maps = network.trunk(x).to(linear.weight.dtype)
    return nn.functional.conv2d(maps, linear.weight[:, :, None, None], linear.bias).float()
