"""One product to one map, by a model of either kind and the same options: what `frazil map` and `frazil batch` do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from frazil.conventions import Denoise
from frazil.errors import OptionError
from frazil.learn.checkpoint import Model
from frazil.learn.predict.flags import FlagSettings
from frazil.scene.box import Box

if TYPE_CHECKING:
    import xarray as xr

    from frazil.learn.predict.phenomena import DropRule
    from frazil.learn.predict.scene import Progress
    from frazil.products import Product

_AROUND_KM = 5.0  # around a box where sea ice is mapped, too: pixels of the two maps end at different places
#: Options that only models of sea ice take, and those that only models of phenomena do.
OF_ICE = ("function", "stride", "engine", "confidence_percent", "adapt")
OF_PHENOMENA = ("tiling", "drop", "ice_model", "scales")


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """How a product is mapped. Plain values, so that they can be kept beside the maps and sent to other machines.

    Attributes:
        spacing_m: pixel size; None: the model's.
        crs: projected, in metres, or ``"auto"``.
        bbox: ``"WEST,SOUTH,EAST,NORTH"`` in degrees; None: the whole scene.
        denoise: see `frazil.open_scene`; None: as the model learnt.
        coast_m: sea this close to land is flagged.
        precision: ``"float32"`` or ``"bfloat16"``.
        device: ``"cpu"``, ``"cuda"``; None: what there is.
        engine: of ice: ``"auto"``, ``"torch"``, ``"openvino"``.
        confidence_percent: of ice: undecided where neither ice nor water is so probable.
        adapt: of ice: let the scene teach the model.
        function: of patch classifiers: ``"auto"``, ``"dense"``, ``"patchwise"``.
        stride: of patch classifiers: pixels between results; None: the default.
        tiling: of phenomena: ``"seamless"`` or ``"half-overlap"``.
        drop: of phenomena: ``"NAME[:LATITUDE[:MONTHS]]"`` each.
        ice_model: of phenomena: a model of sea ice whose result wins.
        scales: of phenomena: at which the network looks.
    """

    spacing_m: float | None = None
    crs: str = "auto"
    bbox: str | None = None
    denoise: Denoise | None = None
    coast_m: float = 2000.0
    precision: str = "float32"
    device: str | None = None
    engine: str = "auto"
    confidence_percent: float = 80.0
    adapt: bool = False
    function: str = "auto"
    stride: int | None = None
    tiling: str = "seamless"
    drop: tuple[str, ...] = ()
    ice_model: str | None = None
    scales: tuple[float, ...] = (1.0,)

    @cached_property
    def rules(self) -> tuple[DropRule, ...]:
        """What `drop` means.

        Raises:
            OptionError: a rule that is none.
        """
        return tuple(map(drop_rule, self.drop))

    @property
    def box(self) -> Box | None:
        """What `bbox` means; raises OptionError."""
        return None if self.bbox is None else Box.of(self.bbox)


def drop_rule(text: str) -> DropRule:
    """``NAME[:LATITUDE[:MONTHS]]``: a class that cannot be there, equatorward of a latitude, in months ``6,7,8``.

    Raises:
        OptionError: another form, or a rule that cannot be.
    """
    from frazil.learn.predict.phenomena import DropRule

    name, _, rest = text.partition(":")
    latitude, _, months = rest.partition(":")
    try:
        return DropRule(
            name=name, equatorward_of=float(latitude or 90), months=tuple(int(m) for m in months.split(",") if m)
        )
    except ValueError as error:
        raise OptionError(f"--drop {text!r} is not NAME[:LATITUDE[:MONTHS]] ({error}).") from error


def map_product(
    product: Product,
    model: Model,
    options: MapOptions | None = None,
    *,
    ice_model: Model | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """The map of a product, as `frazil.conventions.check_map` describes it.

    Args:
        product: an open product.
        model: of sea ice or of phenomena.
        options: those of the other kind are not looked at.
        ice_model: what ``options.ice_model`` names, loaded.
        progress: called as work proceeds.

    Raises:
        FrazilError: as `frazil.predict` and `frazil.predict_phenomena`.
    """
    how = options or MapOptions()
    box = how.box
    given: dict[str, Any] = {"spacing_m": how.spacing_m, "denoise": how.denoise, "device": how.device}
    if model.card.scheme.kind == "exclusive":
        from frazil.learn.predict.ice import predict

        flags = FlagSettings(coast_m=how.coast_m, confidence_percent=how.confidence_percent)
        return predict(
            product,
            model,
            crs=how.crs,
            bbox=box,
            flags=flags,
            precision=how.precision,
            adapt=how.adapt,
            function=how.function,
            stride=how.stride,
            engine=how.engine,
            progress=progress,
            **given,
        )
    return _phenomena(product, model, how, box, ice_model, progress, given)


def _phenomena(
    product: Product,
    model: Model,
    how: MapOptions,
    box: Box | None,
    ice_model: Model | None,
    progress: Progress | None,
    given: dict[str, Any],
) -> xr.Dataset:
    from frazil.learn.predict.ice import predict
    from frazil.learn.predict.phenomena import PhenomenaMapOptions, predict_phenomena

    settings = PhenomenaMapOptions(
        tiling=how.tiling,
        drop=how.rules,
        precision=how.precision,
        flags=FlagSettings(coast_m=how.coast_m),
        scales=how.scales,
    )
    crs, ice = how.crs, None
    if ice_model is not None:
        around = None if box is None else box.wider(_AROUND_KM)
        ice = predict(product, ice_model, crs=crs, bbox=around, denoise=how.denoise, device=how.device)
        if crs == "auto":
            crs = str(ice["spatial_ref"].attrs.get("crs_wkt", "")) or crs
    return predict_phenomena(product, model, crs=crs, bbox=box, options=settings, ice=ice, progress=progress, **given)
