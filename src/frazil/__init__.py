"""frazil: Sentinel-1 radar products to maps of sea ice.

The public verbs load on first use, so that ``import frazil`` stays light and free of torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "compare": "frazil.maps.compare",
    "cut_patches": "frazil.labels.patches",
    "export": "frazil.maps.export",
    "fuse_prior": "frazil.maps.prior",
    "ice_edge": "frazil.maps.edges",
    "ice_polygons": "frazil.maps.polygons",
    "judge": "frazil.learn.judge",
    "open_map": "frazil.maps.netcdf",
    "open_patches": "frazil.labels.patch_set",
    "open_product": "frazil.sentinel1.product",
    "open_scene": "frazil.sentinel1.scene",
    "predict": "frazil.learn.predict.scene",
    "propagate_labels": "frazil.learn.propagation.graph",
    "rasterize_chart": "frazil.labels.chart",
    "read_chart": "frazil.labels.chart",
    "report": "frazil.reports.build",
    "save_comparison": "frazil.maps.comparison_files",
    "save_patches": "frazil.labels.patch_set",
    "simulate_product": "frazil.simulate.product",
    "simulate_scene": "frazil.simulate.scene",
    "split_patches": "frazil.labels.splits",
    "train": "frazil.learn.run",
}
__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'frazil' has no attribute {name!r}; it has {__all__}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        from frazil.extras import missing

        raise missing(error) or error from error


def __dir__() -> list[str]:
    return __all__
