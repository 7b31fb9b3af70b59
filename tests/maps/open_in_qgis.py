"""Run by a Python that has QGIS: opens a project or a file, and says as JSON what it found. Imports nothing of frazil.

    python open_in_qgis.py FILE PICTURE [--time FROM TO] [LAYER_ID …]

A project is drawn with what it shows, or with the layers that are named; a raster or a layer of a GeoPackage
(``FILE|layername=NAME``) with the style that QGIS finds by itself. With a time, only what is of that time is drawn.
"""

import json
import sys

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsDateTimeRange,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QDateTime, QSize, Qt
from qgis.PyQt.QtGui import QColor

SIDE = 600  # pixels of the picture


def main(source: str, picture: str, wanted: list[str]) -> dict:
    span, wanted = (wanted[1:3], wanted[3:]) if wanted[:1] == ["--time"] else ([], wanted)
    project = QgsProject.instance()
    told: dict = {"version": Qgis.QGIS_VERSION}
    if source.endswith(".qgz"):
        told["read"] = project.read(source)
        told["title"] = project.title()
        told["crs"] = project.crs().authid()
        root = project.layerTreeRoot()
        told["groups"] = {g.name(): [n.layerId() for n in g.findLayers()] for g in root.findGroups()}
        told["shown"] = [n.layerId() for n in root.findLayers() if n.isVisible()]
        shown = [n.layer() for n in root.findLayers() if (n.layerId() in wanted if wanted else n.isVisible())]
    elif "|layername=" in source:
        shown = [QgsVectorLayer(source, "layer", "ogr")]
    else:
        shown = [QgsRasterLayer(source, "layer")]
    known = list(project.mapLayers().values()) or shown
    told["layers"] = {
        layer.id() if project.mapLayers() else "layer": {
            "valid": layer.isValid(),
            "name": layer.name(),
            "source": layer.source(),
            "renderer": layer.renderer().type() if layer.renderer() else None,
            "features": layer.featureCount() if hasattr(layer, "featureCount") else None,
            "fields": {f.name(): f.typeName() for f in layer.fields()} if hasattr(layer, "fields") else None,
        }
        for layer in known
    }
    settings = QgsMapSettings()
    settings.setLayers(shown)
    settings.setBackgroundColor(QColor(1, 2, 3))
    settings.setOutputSize(QSize(SIDE, SIDE))
    settings.setDestinationCrs(project.crs() if project.crs().isValid() else shown[0].crs())
    settings.setExtent(next((layer for layer in known if isinstance(layer, QgsRasterLayer)), shown[0]).extent())
    if span:
        settings.setIsTemporal(True)
        settings.setTemporalRange(QgsDateTimeRange(*(QDateTime.fromString(time, Qt.ISODate) for time in span)))
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    told["errors"] = [e.message for e in job.errors()]
    image = job.renderedImage()
    image.save(picture)
    extent = settings.visibleExtent()
    told["extent"] = [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()]
    told["size"] = [image.width(), image.height()]
    return told


application = QgsApplication([], False)
application.initQgis()
try:
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2], sys.argv[3:])))
finally:
    QgsProject.instance().clear()
    application.exitQgis()
