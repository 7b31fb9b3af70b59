"""frazil: radar products to maps of sea ice.

The public verbs load on first use, so that ``import frazil`` stays light and free of torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "batch": "frazil.archive.run",
    "check_map": "frazil.conventions",
    "check_scene": "frazil.conventions",
    "compare": "frazil.maps.compare",
    "cut_imagettes": "frazil.labels.imagettes_products",
    "cut_patches": "frazil.labels.patches",
    "draw_chart": "frazil.charts.page",
    "draw_map": "frazil.maps.figures",
    "draw_occurrences": "frazil.maps.occurrences",
    "draw_phenomena_map": "frazil.maps.phenomena_figures",
    "draw_risk": "frazil.charts.risk_page",
    "drift": "frazil.motion.field",
    "evaluate": "frazil.learn.evaluate",
    "export": "frazil.maps.export",
    "export_chart": "frazil.charts.export",
    "find": "frazil.providers.search",
    "fuse_prior": "frazil.maps.prior",
    "draw_concentration": "frazil.maps.concentration_files",
    "get": "frazil.providers.get",
    "ice_concentration": "frazil.maps.concentration",
    "ice_edge": "frazil.maps.edges",
    "ice_polygons": "frazil.maps.polygons",
    "load_model": "frazil.learn.checkpoint",
    "look_at": "frazil.learn.cells.look",
    "make_chart": "frazil.charts.chart",
    "occurrences": "frazil.maps.occurrences",
    "mosaic": "frazil.archive.mosaic_files",
    "open_catalogue": "frazil.archive.catalogue",
    "open_imagettes": "frazil.labels.imagettes",
    "open_map": "frazil.maps.netcdf",
    "open_patches": "frazil.labels.patch_set",
    "open_product": "frazil.products",
    "open_scene": "frazil.products",
    "phenomena_polygons": "frazil.maps.polygons",
    "predict": "frazil.learn.predict.ice",
    "predict_phenomena": "frazil.learn.predict.phenomena",
    "propagate_labels": "frazil.learn.propagation.graph",
    "rasterize_chart": "frazil.labels.chart",
    "read_chart": "frazil.labels.chart",
    "report": "frazil.reports.build",
    "risk_of_chart": "frazil.charts.risk",
    "risk_of_map": "frazil.charts.risk",
    "save_comparison": "frazil.maps.comparison_files",
    "save_concentration": "frazil.maps.concentration_files",
    "save_drift": "frazil.motion.files",
    "save_imagettes": "frazil.labels.imagettes",
    "save_occurrences": "frazil.maps.occurrences",
    "save_patches": "frazil.labels.patch_set",
    "save_series": "frazil.archive.series",
    "save_risk": "frazil.charts.risk",
    "save_segments": "frazil.maps.segment_files",
    "segment": "frazil.learn.predict.imagettes",
    "series": "frazil.archive.series",
    "simulate_product": "frazil.simulate.product",
    "simulate_scene": "frazil.simulate.scene",
    "simulated_imagettes": "frazil.simulate.imagettes",
    "split_imagettes": "frazil.labels.imagettes",
    "split_patches": "frazil.labels.splits",
    "summarise": "frazil.maps.summary",
    "taught_map": "frazil.learn.cells.pixels",
    "teach": "frazil.learn.cells.teach",
    "train": "frazil.learn.run",
    "write_catalogue": "frazil.archive.catalogue",
}
#: Names of before, and what they are called now.
_FORMERLY = {"judge": "evaluate", "predict_metocean": "predict_phenomena", "export_metocean": "export"}
__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _FORMERLY:
        raise AttributeError(f"frazil.{name} is called frazil.{_FORMERLY[name]} now.")
    if name not in _HOME:
        raise AttributeError(f"module 'frazil' has no attribute {name!r}; it has {__all__}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        from frazil.extras import missing

        raise missing(error) or error from error


def __dir__() -> list[str]:
    return __all__
