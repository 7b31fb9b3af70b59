"""Whether a scene and a model fit: what is refused before a network sees anything, and what is flagged afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from frazil.conventions import sensor_of
from frazil.errors import ModelError
from frazil.learn.checkpoint import ModelCard
from frazil.learn.seen import Seen
from frazil.scene.geolocation import Geolocation
from frazil.scene.land import land_mask

_SAMPLED = 160  # positions of a scene along each side, at which it is compared with the training


#: Noise removal by which models learnt, and others that suit them: balancing mends what is left of the stated noise,
#: so that a scene is more, not less, like those without such a rest.
SUITABLE: dict[str, tuple[str, ...]] = {"esa": ("balanced",)}


def wanted_denoise(card: ModelCard, asked: str | None) -> str:
    """How the noise of a scene is to be removed for a model.

    Args:
        card: of the model.
        asked: by the user; None for what the model learnt from.

    Raises:
        ModelError: the model has not seen scenes like that.
    """
    if asked is None or asked == card.denoise:
        return card.denoise
    suitable = (card.denoise, *SUITABLE.get(card.denoise, ()))
    if asked not in suitable:
        raise ModelError(
            f"Model {card.id} learnt from scenes whose noise was removed as denoise={card.denoise!r}; with "
            f"denoise={asked!r} dark places look otherwise than any it has seen. Choose from {list(suitable)}."
        )
    return asked


def check_fit(scene: xr.Dataset, card: ModelCard, denoise: str | None = None) -> None:
    """Refuse scenes that a model cannot have been meant for.

    Args:
        scene: see `frazil.conventions.check_scene`.
        card: of the model.
        denoise: see `wanted_denoise`.

    Raises:
        ModelError: a polarisation that is missing; other pixels; noise removed otherwise; angles that are not known.
    """
    lacking = [p for p in card.polarizations if p not in scene["polarization"].values]
    if lacking:
        raise ModelError(
            f"Model {card.id} needs {list(card.polarizations)}, but the scene holds "
            f"{scene['polarization'].values.tolist()}. Open it with these polarisations, or choose another model."
        )
    spacing = float(scene.attrs["spacing_m"])
    if not abs(spacing / card.spacing_m - 1) <= 0.2:
        looks = max(round(card.spacing_m / spacing * int(scene.attrs.get("looks", 1))), 1) if spacing > 0 else 1
        raise ModelError(
            f"Model {card.id} was trained on pixels of {card.spacing_m:g} m, but the scene has {spacing:g} m. "
            f"Open the scene with looks={looks}."
        )
    if scene.attrs["denoise"] != wanted_denoise(card, denoise):
        if denoise not in (None, card.denoise):
            raise ModelError(
                f"denoise={denoise!r} was asked for, but this scene was opened with "
                f"denoise={scene.attrs['denoise']!r}. Open it as you ask for it."
            )
        raise ModelError(
            f"Model {card.id} learnt from scenes whose noise was removed as denoise={card.denoise!r}, but this one was "
            f"opened with denoise={scene.attrs['denoise']!r}. Open it as the model wants it."
        )


def check_logits(logits: np.ndarray, card: ModelCard) -> None:
    """Refuse what a network says if it is not numbers: every class would be as good as any.

    Raises:
        ModelError: NaN or infinite logits.
    """
    if not np.isfinite(logits).all():
        raise ModelError(
            f"The network of model {card.id} gave numbers that are not finite. Its training has failed, or its weights "
            "are damaged: use another model (and with bfloat16, try float32)."
        )


@dataclass(eq=False)
class Sample:
    """What a network was shown of a scene, at positions of a coarse lattice.

    Attributes:
        step: pixels between positions.
        lines: of the positions, scene pixels from the first.
        values: float32 (channel, column) of each line, columns at multiples of `step`.
    """

    step: int
    lines: list[int] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(cls, scene: xr.Dataset) -> Sample:
        """Without values yet."""
        return cls(max(min(scene.sizes["line"], scene.sizes["pixel"]) // _SAMPLED, 1))

    def add(self, inputs: np.ndarray, first: int) -> None:
        """Take what lies on the lattice of full-width inputs (channel, line, pixel) that begin at a line."""
        last = self.lines[-1] if self.lines else -1
        for line in range(first + -first % self.step, first + inputs.shape[1], self.step):
            if line > last:
                self.lines.append(line)
                self.values.append(inputs[:, line - first, :: self.step].copy())

    def strange(self, scene: xr.Dataset, card: ModelCard) -> list[str]:
        """What of the scene's sea lies outside the model's training range, in words."""
        if not self.values:
            return []
        image = np.stack(self.values, axis=1)
        line = scene["line"].values[np.array(self.lines)]
        pixel = scene["pixel"].values[:: self.step]
        lon, lat = Geolocation.of(scene).lonlat(line[:, None], pixel[None, :])
        image[:, land_mask(np.asarray(lon), np.asarray(lat))] = 0.0
        return (card.seen or Seen()).strange(
            image, card.channels, str(scene.attrs.get("mode", "")), sensor_of(scene.attrs)
        )


def outside_training(made: xr.Dataset, strange: list[str]) -> xr.Dataset:
    """A map that says what of its scene is unlike the training: in ``outside_training``, and first of all in ``note``.

    The note is what pictures, summaries, STAC items and the command line show.
    """
    if not strange:
        return made
    said = "; ".join(strange)
    warning = f"DO NOT TRUST THIS MAP: the scene is unlike what the model has learnt from ({said})."
    return made.assign_attrs(outside_training=said, note=f"{warning} {made.attrs.get('note', '')}".strip())
