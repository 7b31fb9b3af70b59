"""Made-up RADARSAT products in the published layouts: a scene of a round Earth, its tables, its tie points.

Incidence angles come from slant range and orbit height, not from the tables: what a reader takes from the tables can be
held against them. There is no real pixel in it.

References:
    RN-RP-51-2713 (RADARSAT-2 Product Format Definition); RCM-SP-53-0419 (RCM Product Specification).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pyproj import Geod

EARTH_M, ORBIT_M = 6_371_000.0, 798_000.0
FIRST, LAST = "2022-04-07T18:21:27.000000Z", "2022-04-07T18:21:33.000000Z"
_SCHEMA2 = 'xmlns="http://www.rsi.ca/rs2/prod/xml/schemas"'
_SCHEMA3 = 'xmlns="rcmGsProductSchema"'


@dataclass
class Made:
    """A product to be written; every number of it can be changed first.

    Attributes:
        dn: polarisation -> digital numbers (line, pixel) in the order of the image.
        far_first: whether pixels count from far range inwards, as in images of half of all passes.
        time_order: whether the tables of RADARSAT-2 count with time although pixels count against it.
        late_first: whether lines run against time.
        step: pixels between gains and angles of the Constellation.
    """

    dn: dict[str, np.ndarray]
    spacing_m: float = 50.0
    near_m: float = 250_000.0  # from the point below the satellite, along the ground
    offset: float = 0.0
    far_first: bool = False
    time_order: bool = False
    late_first: bool = False
    step: int = 1
    noise_step: int = 40
    noise_db: tuple[float, float] = (-27.0, -33.0)  # at near and far range
    noise_removed: bool = False
    sample_type: str = "Magnitude Detected"
    product_type: str = "SCW"
    height_m: float = 0.0
    place: tuple[float, float] = (-60.0, 74.0)  # longitude and latitude of the first line at near range
    heading: float = 350.0
    replaced: dict[str, str] = field(default_factory=dict)  # in product.xml

    @property
    def shape(self) -> tuple[int, int]:
        return next(iter(self.dn.values())).shape

    @property
    def bits(self) -> int:
        return 8 * next(iter(self.dn.values())).dtype.itemsize

    def _image_order(self, values: np.ndarray) -> np.ndarray:
        return values[::-1] if self.far_first else values

    def incidence_at(self, index: np.ndarray) -> np.ndarray:
        """Degrees at positions counted from near range: by the triangle of Earth, target and satellite."""
        centre = (self.near_m + index * self.spacing_m) / EARTH_M
        orbit = EARTH_M + ORBIT_M
        slant = np.sqrt(EARTH_M**2 + orbit**2 - 2 * EARTH_M * orbit * np.cos(centre))
        angle: np.ndarray = np.degrees(np.arccos((orbit**2 - EARTH_M**2 - slant**2) / (2 * EARTH_M * slant)))
        return angle

    def beta_gain_at(self, index: np.ndarray) -> np.ndarray:
        return 1.1e6 * (1 + 0.4 * index / self.shape[1])

    def sigma_gain_at(self, index: np.ndarray) -> np.ndarray:
        gain: np.ndarray = self.beta_gain_at(index) / np.sin(np.radians(self.incidence_at(index)))
        return gain

    def noise_db_at(self, index: np.ndarray) -> np.ndarray:
        near, far = self.noise_db
        return near + (far - near) * index / (self.shape[1] - 1)

    @property
    def _index(self) -> np.ndarray:
        """Of every pixel in the order of the image, counted from near range."""
        return self._image_order(np.arange(self.shape[1]))

    @property
    def incidence(self) -> np.ndarray:
        return self.incidence_at(self._index)

    @property
    def beta_gain(self) -> np.ndarray:
        return self.beta_gain_at(self._index)

    @property
    def sigma_gain(self) -> np.ndarray:
        return self.sigma_gain_at(self._index)

    @property
    def nesz(self) -> np.ndarray:
        """Linear power at every pixel, in the order of the image."""
        level: np.ndarray = 10 ** (self.noise_db_at(self._index) / 10)
        return level

    def sigma0(self, polarization: str, *, denoise: bool) -> np.ndarray:
        """What the specification makes of the digital numbers, float64; zeros at either end of a line are no data."""
        out = np.full(self.shape, np.nan)
        for y, row in enumerate(self.dn[polarization]):
            lit = np.flatnonzero(row)
            for x in range(lit[0], lit[-1] + 1) if lit.size else ():
                out[y, x] = (float(row[x]) ** 2 + self.offset) / self.sigma_gain[x]
                if denoise:
                    out[y, x] -= self.nesz[x]
        return out

    def lonlat(self, line: float, pixel: float) -> tuple[float, float]:
        """Where an image position lies, looking to the right of the flight."""
        n_lines, n_pixels = self.shape
        along = (n_lines - 1 - line if self.late_first else line) * self.spacing_m
        across = (n_pixels - 1 - pixel if self.far_first else pixel) * self.spacing_m
        geod = Geod(ellps="WGS84")
        lon, lat, back = geod.fwd(*self.place, self.heading, along)
        # A point at a height is seen nearer to the sensor: it lies further out than the sea of the same slant range.
        angle = np.radians(np.interp(pixel, np.arange(n_pixels), self.incidence))
        lon, lat, _ = geod.fwd(lon, lat, back + 180 + 90, across + self.height_m / np.tan(angle))
        return lon, lat

    def tie_points(self, lines: int = 5, pixels: int = 6) -> str:
        points = []
        for line in np.linspace(0, self.shape[0] - 1, lines):
            for pixel in np.linspace(0, self.shape[1] - 1, pixels):
                lon, lat = self.lonlat(line, pixel)
                points.append(
                    f"<imageTiePoint><imageCoordinate><line>{line:.7e}</line><pixel>{pixel:.7e}</pixel>"
                    f"</imageCoordinate><geodeticCoordinate><latitude units='deg'>{lat:.15e}</latitude>"
                    f"<longitude units='deg'>{lon:.15e}</longitude><height units='m'>{self.height_m}</height>"
                    "</geodeticCoordinate></imageTiePoint>"
                )
        return "".join(points)

    def noise_values(self) -> tuple[int, int, np.ndarray]:
        """First pixel, step and dB of a noise vector, from near range outwards, as the Constellation counts it."""
        n = self.shape[1]
        at = np.arange(0, n - 1 + self.noise_step, self.noise_step)  # may end beyond the image, as real ones do
        value = self.noise_db_at(at)
        return (n - 1, -self.noise_step, value) if self.far_first else (0, self.noise_step, value)

    def _write_images(self, names: dict[str, Path]) -> None:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning

        for polarization, path in names.items():
            dn = self.dn[polarization]
            profile = {"driver": "GTiff", "height": dn.shape[0], "width": dn.shape[1], "count": 1, "dtype": dn.dtype}
            if self.bits == 8:  # of bytes in blocks of several lines GDAL's RS2 driver mixes up the lines
                profile["blockysize"] = 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(path, "w", **profile) as file:
                    file.write(dn, 1)

    def _finished(self, text: str) -> str:
        for old, new in self.replaced.items():
            assert old in text, old
            text = text.replace(old, new)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + text

    def _times(self) -> str:
        first, last = (LAST, FIRST) if self.late_first else (FIRST, LAST)
        return (
            f"<zeroDopplerTimeFirstLine>{first}</zeroDopplerTimeFirstLine>"
            f"<zeroDopplerTimeLastLine>{last}</zeroDopplerTimeLastLine>"
        )

    def _orders(self) -> str:
        line, pixel = ("Decreasing" if turned else "Increasing" for turned in (self.late_first, self.far_first))
        return (
            f"<sampledPixelSpacing units='m'>{self.spacing_m}</sampledPixelSpacing>"
            f"<sampledLineSpacing units='m'>{self.spacing_m}</sampledLineSpacing>"
            f"<lineTimeOrdering>{line}</lineTimeOrdering><pixelTimeOrdering>{pixel}</pixelTimeOrdering>"
        )

    def write_radarsat2(self, parent: Path, name: str = "RS2_OK1_PK2_DK3_SCWA_20220407_182127_HH_HV_SCW") -> Path:
        """The folder of a RADARSAT-2 product."""
        folder = parent / name
        folder.mkdir(parents=True)
        self._write_images({p: folder / f"imagery_{p}.tif" for p in self.dn})
        turned = self.far_first and self.time_order
        for kind, gains in (("Sigma", self.sigma_gain), ("Beta", self.beta_gain)):
            values = " ".join(f"{g:.9e}" for g in (gains[::-1] if turned else gains))
            text = f"<lut><offset>{self.offset:.6e}</offset><gains>{values}</gains></lut>"
            (folder / f"lut{kind}.xml").write_text(self._finished_table(text))
        first, step, noise = self.noise_values()
        if turned:  # counted with time, too
            first, step = 0, self.noise_step
        noises = "".join(
            f'<referenceNoiseLevel incidenceAngleCorrection="{kind}"><pixelFirstNoiseValue>{first}'
            f"</pixelFirstNoiseValue><stepSize>{step}</stepSize><numberOfNoiseLevelValues>{noise.size}"
            "</numberOfNoiseLevelValues><noiseLevelValues units='dB'>"
            f"{' '.join(f'{v + more:.9e}' for v in noise)}</noiseLevelValues></referenceNoiseLevel>"
            for kind, more in (("Beta Nought", 3.0), ("Sigma Nought", 0.0), ("Gamma", 1.0))
        )
        angles = sorted((self.incidence[0], self.incidence[-1]))
        images = "".join(
            f'<fullResolutionImageData pole="{p}">imagery_{p}.tif</fullResolutionImageData>' for p in self.dn
        )
        removed = "<noiseSubtractionPerformed>true</noiseSubtractionPerformed>" if self.noise_removed else ""
        text = f"""<product {_SCHEMA2} copyright="RADARSAT-2 Data and Products (c) MDA, 2022 - All Rights Reserved.">
<productId>PDS_1</productId><documentIdentifier>RN-RP-51-2713</documentIdentifier>
<sourceAttributes><satellite>RADARSAT-2</satellite><sensor>SAR</sensor><beamModeMnemonic>SCWA</beamModeMnemonic>
<rawDataStartTime>{FIRST}</rawDataStartTime>
<radarParameters><acquisitionType>ScanSAR Wide</acquisitionType><beams>W1 W2 W3 S7</beams>
<polarizations>{" ".join(self.dn)}</polarizations><antennaPointing>Right</antennaPointing>{noises}</radarParameters>
<orbitAndAttitude><orbitInformation><passDirection>Ascending</passDirection></orbitInformation></orbitAndAttitude>
</sourceAttributes>
<imageGenerationParameters>
<generalProcessingInformation><productType>{self.product_type}</productType></generalProcessingInformation>
<sarProcessingInformation><lutApplied>Ice</lutApplied>{self._times()}{removed}
<incidenceAngleNearRange units='deg'>{angles[0]:.8e}</incidenceAngleNearRange>
<incidenceAngleFarRange units='deg'>{angles[1]:.8e}</incidenceAngleFarRange>
<satelliteHeight units='m'>{ORBIT_M}</satelliteHeight></sarProcessingInformation></imageGenerationParameters>
<imageAttributes><productFormat>GeoTIFF</productFormat>
<rasterAttributes><dataType>{self.sample_type}</dataType>
<bitsPerSample dataStream="Magnitude">{self.bits}</bitsPerSample>
<numberOfSamplesPerLine>{self.shape[1]}</numberOfSamplesPerLine><numberOfLines>{self.shape[0]}</numberOfLines>
{self._orders()}</rasterAttributes>
<geographicInformation><geolocationGrid>{self.tie_points()}</geolocationGrid>
<referenceEllipsoidParameters><ellipsoidName>WGS84</ellipsoidName><semiMajorAxis units='m'>6378137</semiMajorAxis>
<semiMinorAxis units='m'>6356752.314245179</semiMinorAxis></referenceEllipsoidParameters></geographicInformation>
<lookupTable incidenceAngleCorrection="Beta Nought">lutBeta.xml</lookupTable>
<lookupTable incidenceAngleCorrection="Sigma Nought">lutSigma.xml</lookupTable>
{images}</imageAttributes></product>"""
        (folder / "product.xml").write_text(self._finished(text))
        return folder

    @staticmethod
    def _finished_table(text: str) -> str:
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + text

    def write_constellation(self, parent: Path, name: str = "RCM2_OK1_PK2_1_SC50MB_20220407_182127_HH_HV_GRD") -> Path:
        """The folder of a RADARSAT Constellation product."""
        folder = parent / name
        calibration = folder / "metadata" / "calibration"
        for place in (calibration, folder / "imagery"):
            place.mkdir(parents=True)
        (folder / "manifest.safe").write_text("<xfdu/>")
        self._write_images({p: folder / "imagery" / f"1_1_{p}.tif" for p in self.dn})
        n = self.shape[1]
        at = np.arange(0, n - 1 + self.step, self.step)  # from near range; may end beyond the image
        first, step = (n - 1, -self.step) if self.far_first else (0, self.step)
        table, angle = self.sigma_gain_at(at), self.incidence_at(at)
        head = f"<stepSize>{step}</stepSize><numberOfValues>{at.size}</numberOfValues>"
        for p in self.dn:
            gains = " ".join(f"{g:.15e}" for g in table)
            (calibration / f"lutSigma_{p}.xml").write_text(
                self._finished_table(
                    f"<lut {_SCHEMA3}><pixelFirstLutValue>{first}</pixelFirstLutValue>{head}"
                    f"<offset>{self.offset}</offset><gains>{gains}</gains></lut>"
                )
            )
            start, noise_step, noise = self.noise_values()
            (calibration / f"noiseLevels_{p}.xml").write_text(
                self._finished_table(
                    f"<noiseLevels {_SCHEMA3}>"
                    + "".join(
                        f"<referenceNoiseLevel><sarCalibrationType>{kind}</sarCalibrationType><pixelFirstNoiseValue>"
                        f"{start}</pixelFirstNoiseValue><stepSize>{noise_step}</stepSize><numberOfValues>{noise.size}"
                        "</numberOfValues><noiseLevelValues units='dB'>"
                        f"{' '.join(f'{v + more:.15e}' for v in noise)}</noiseLevelValues></referenceNoiseLevel>"
                        for kind, more in (("Beta Nought", 3.0), ("Sigma Nought", 0.0), ("Gamma", 1.0))
                    )
                    + "</noiseLevels>"
                )
            )
        angles = "".join(f"<angles units='deg'>{a:.15e}</angles>" for a in angle)
        (calibration / "incidenceAngles.xml").write_text(
            self._finished_table(
                f"<incidenceAngles {_SCHEMA3}><pixelFirstAnglesValue>{first}</pixelFirstAnglesValue>{head}{angles}"
                "</incidenceAngles>"
            )
        )
        tables = "".join(
            f'<lookupTableFileName sarCalibrationType="Sigma Nought" pole="{p}">lutSigma_{p}.xml</lookupTableFileName>'
            for p in self.dn
        ) + "".join(f'<noiseLevelFileName pole="{p}">noiseLevels_{p}.xml</noiseLevelFileName>' for p in self.dn)
        removed = "<noiseSubtractionPerformed>true</noiseSubtractionPerformed>" if self.noise_removed else ""
        near, far = sorted((self.incidence[0], self.incidence[-1]))
        images = "".join(f'<ipdf pole="{p}">../imagery/1_1_{p}.tif</ipdf>' for p in self.dn)
        text = f"""<product {_SCHEMA3} copyright="RCM Data and Products (c) CSA, 2022 - All Rights Reserved.">
<productId>1_1</productId><documentIdentifier>RCM-SP-53-0419, Issue 2/9</documentIdentifier>
<sourceAttributes><satellite>RCM-2</satellite><sensor>SAR</sensor><beamModeMnemonic>SC50MB</beamModeMnemonic>
<radarParameters><polarizations>{" ".join(self.dn)}</polarizations></radarParameters>
<orbitAndAttitude><orbitInformation><passDirection>Descending</passDirection></orbitInformation></orbitAndAttitude>
</sourceAttributes>
<imageGenerationParameters>
<generalProcessingInformation><productType>GRD</productType></generalProcessingInformation>
<sarProcessingInformation>{self._times()}{removed}</sarProcessingInformation></imageGenerationParameters>
<imageReferenceAttributes>{tables}<incidenceAngleFileName>incidenceAngles.xml</incidenceAngleFileName>
<rasterAttributes><sampleType>{self.sample_type}</sampleType><dataType>Integer</dataType>
<bitsPerSample dataStream="Magnitude">{self.bits}</bitsPerSample>{self._orders()}</rasterAttributes>
<geographicInformation><geolocationGrid>{self.tie_points()}</geolocationGrid></geographicInformation>
</imageReferenceAttributes>
<sceneAttributes><numberOfEntries>1</numberOfEntries><imageAttributes sampleType="{self.sample_type}" beam="SC">{images}
<numLines>{self.shape[0]}</numLines><samplesPerLine>{n}</samplesPerLine>
<incAngNearRng units='deg'>{near:.8e}</incAngNearRng><incAngFarRng units='deg'>{far:.8e}</incAngFarRng>
</imageAttributes></sceneAttributes></product>"""
        (folder / "metadata" / "product.xml").write_text(self._finished(text))
        return folder


def made_up(
    shape: tuple[int, int] = (90, 140),
    *,
    polarizations: tuple[str, ...] = ("HH", "HV"),
    dtype: type = np.uint16,
    seed: int = 0,
    **settings: object,
) -> Made:
    """Speckle of two brightnesses, black corners, and some black pixels in the middle."""
    rng = np.random.default_rng(seed)
    most = np.iinfo(dtype).max
    dn = {}
    for i, p in enumerate(polarizations):
        mean = np.where(np.arange(shape[1]) < shape[1] // 2, 500.0, 900.0) / (1 + 2 * i)
        speckled = mean * np.sqrt(rng.gamma(4.0, 0.25, shape)) * (1 if most > 255 else 0.2)
        values: np.ndarray = np.clip(np.rint(speckled), 1, most).astype(dtype)
        values[shape[0] // 3, shape[1] // 3] = 0
        for y in range(shape[0]):
            values[y, : 5 * y // shape[0]] = 0
            values[y, shape[1] - 7 + 7 * y // shape[0] :] = 0
        values[-1] = 0
        dn[p] = values
    return Made(dn=dn, **settings)  # type: ignore[arg-type]
