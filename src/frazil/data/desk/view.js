// The map: pictures of the scene, lines and labels over them, swipe, flicker, what is under the cursor.
/* global ol */
import { get } from "./talk.js";

const TILE = 256;
const NAMES = { rgb: "Colour (HV, HH, HH)", class: "Classes", network: "Classes of the network alone", ice: "Probability of ice",
  confidence: "Confidence", certainty: "Certainty ω of cells", flags: "Where not to trust it", changed: "Changed by labels" };

const rgb = (c, alpha = 1) => `rgba(${c[0]}, ${c[1]}, ${c[2]}, ${alpha})`;

export class View {
  constructor(state) {
    this.state = state;
    this.grid = new ol.layer.Vector({ source: new ol.source.Vector(), style: (f) => this.gridStyle(f), zIndex: 20 });
    this.edge = new ol.layer.Vector({ source: new ol.source.Vector(), visible: false, zIndex: 22,
      style: new ol.style.Style({ stroke: new ol.style.Stroke({ color: "#c2004f", width: 2 }) }) });
    this.chart = new ol.layer.Vector({ source: new ol.source.Vector(), visible: false, zIndex: 21,
      style: new ol.style.Style({ stroke: new ol.style.Stroke({ color: "#101010", width: 2.4 }) }) });
    this.chartInk = new ol.style.Style({ stroke: new ol.style.Stroke({ color: "#ffd34d", width: 1.2 }) });
    this.chart.setStyle([this.chart.getStyle(), this.chartInk]);
    this.differ = new ol.layer.Vector({ source: new ol.source.Vector(), zIndex: 23, style: (f) => this.differStyle(f) });
    this.labels = new ol.layer.Vector({ source: new ol.source.Vector(), zIndex: 30, style: (f) => this.labelStyle(f, false) });
    this.asked = new ol.layer.Vector({ source: new ol.source.Vector(), zIndex: 31, style: [
      new ol.style.Style({ stroke: new ol.style.Stroke({ color: "#000000", width: 5 }) }),
      new ol.style.Style({ stroke: new ol.style.Stroke({ color: "#ffffff", width: 2.5, lineDash: [6, 5] }) })] });
    this.outlines = new ol.source.Vector();
    this.radar = new ol.layer.Tile({ zIndex: 1, cacheSize: 96 });
    this.over = new ol.layer.Tile({ zIndex: 2, opacity: 0.6, cacheSize: 96 });
    this.map = new ol.Map({ target: "map", controls: ol.control.defaults.defaults({ attribution: false, rotate: false })
      .extend([new ol.control.ScaleLine({ units: "metric" })]),
      layers: [this.radar, this.over, this.grid, this.chart, this.edge, this.differ, this.labels, this.asked] });
    this.stretch = {};
    this.swipeAt = null;
    this.over.on("prerender", (event) => this.clip(event));
    this.over.on("postrender", (event) => { if (this.swipeAt !== null) event.context.restore(); });
  }

  get scene() { return this.state.scenes.find((s) => s.name === this.name); }

  colour(code) { return this.state.classes[code]?.colour ?? [128, 128, 128]; }

  /** Show a scene; the view stays where both lie in one place. */
  show(name) {
    this.name = name;
    const s = this.scene;
    const extent = [s.left, s.top - s.shape[0] * s.spacing, s.left + s.shape[1] * s.spacing, s.top];
    const projection = new ol.proj.Projection({ code: this.state.crs, units: "m", extent });
    const resolutions = Array.from({ length: s.levels }, (_, z) => s.spacing * 2 ** (s.levels - 1 - z));
    this.tileGrid = new ol.tilegrid.TileGrid({ origin: [s.left, s.top], extent, resolutions, tileSize: TILE });
    this.projection = projection;
    this.extent = extent;
    this.map.setView(new ol.View({ projection, center: ol.extent.getCenter(extent), resolution: resolutions[0], minResolution: s.spacing / 8,
      maxResolution: resolutions[0] * 4, extent: ol.extent.buffer(extent, 200000), showFullExtent: true, constrainOnlyCenter: true }));
    this.whole();
    for (const layer of [this.edge, this.chart, this.differ, this.asked, this.grid]) layer.getSource().clear();
    this.outlines.clear();
    this.loaded = {};
    this.lines("graticule", this.grid);
  }

  whole() { this.map.getView().fit(this.extent, { padding: [8, 8, 8, 8] }); }

  setRadar(layer) { this.radarName = layer; this.radar.setSource(this.source(layer)); }

  setOver(layer) { this.overName = layer; this.over.setSource(layer === "nothing" ? null : this.source(layer)); }

  /** New pictures of the map after it has learnt. */
  refresh() {
    this.setOver(this.overName);
    if (this.loaded.outlines) { this.loaded.outlines = false; this.loadOutlines(); }
    this.loaded.edge = false;
    if (this.edge.getVisible()) this.lines("edge", this.edge);
  }

  source(layer) {
    const s = this.scene;
    const bands = s.bands.filter((b) => layer === "rgb" ? !b.name.includes("/") : b.name === layer);
    const limits = bands.map((b) => this.stretch[b.name] ?? b.shown).flat();
    const query = new URLSearchParams({ v: `${s.version}` });
    if (limits.length) query.set("s", limits.join(","));
    const smooth = bands.length > 0 || ["ice", "confidence"].includes(layer) || /^p\d+$/.test(layer);
    return new ol.source.TileImage({ projection: this.projection, tileGrid: this.tileGrid, interpolate: smooth, transition: 0, wrapX: false,
      tileUrlFunction: ([z, x, y]) => `/tile/${encodeURIComponent(s.name)}/${encodeURIComponent(layer).replaceAll("%2F", "~")}/${z}/${x}/${y}?${query}` });
  }

  title(layer) {
    const of = /^p(\d+)$/.exec(layer);
    if (of) return `Probability: ${this.state.classes[+of[1]].title}`;
    return NAMES[layer] ?? layer;
  }

  async lines(kind, layer) {
    if (this.loaded[kind]) return;
    this.loaded[kind] = true;
    const name = this.name;
    const told = await get(`/lines/${encodeURIComponent(name)}/${kind}`);
    if (name !== this.name) return; // another scene is shown by now
    const features = new ol.format.GeoJSON().readFeatures(told);
    const source = layer instanceof ol.source.Vector ? layer : layer.getSource();
    source.clear();
    source.addFeatures(features);
  }

  /** Outlines of the classes, which are not shown: drawing snaps to them. */
  loadOutlines() { return this.lines("outlines", this.outlines).catch(() => { this.loaded.outlines = false; }); }

  clip(event) {
    if (this.swipeAt === null) return;
    const context = event.context, [width, height] = this.map.getSize();
    const corner = (x, y) => ol.render.getRenderPixel(event, [x, y]);
    const x = width * this.swipeAt;
    const [a, b, c, d] = [corner(x, 0), corner(width, 0), corner(width, height), corner(x, height)];
    context.save();
    context.beginPath();
    context.moveTo(...a); context.lineTo(...b); context.lineTo(...c); context.lineTo(...d);
    context.closePath();
    context.clip();
  }

  labelStyle(feature, chosen) {
    const test = feature.get("purpose") === "test", colour = this.colour(feature.get("code"));
    const line = new ol.style.Stroke({ color: rgb(colour), width: 2.4, lineDash: test ? [3, 4] : undefined });
    return [
      new ol.style.Style({ stroke: new ol.style.Stroke({ color: chosen ? "#ffffff" : "rgba(0,0,0,0.75)", width: chosen ? 7 : 4.4 }) }),
      new ol.style.Style({ stroke: line, fill: new ol.style.Fill({ color: rgb(colour, 0.25) }) })];
  }

  differStyle(feature) {
    const over = feature.get("kind") === "over";
    return new ol.style.Style({ stroke: new ol.style.Stroke({ color: over ? "#e55c30" : "#7047a8", width: 2 }),
      fill: new ol.style.Fill({ color: over ? "rgba(229,92,48,0.18)" : "rgba(112,71,168,0.18)" }) });
  }

  gridStyle(feature) {
    const text = feature.get("text");
    if (!text) return new ol.style.Style({ stroke: new ol.style.Stroke({ color: "rgba(120,150,170,0.7)", width: 1 }) });
    return new ol.style.Style({ text: new ol.style.Text({ text, font: "12px system-ui, sans-serif", fill: new ol.style.Fill({ color: "#10202c" }),
      stroke: new ol.style.Stroke({ color: "rgba(255,255,255,0.9)", width: 3 }), overflow: true }) });
  }

  /** Colours of the legend: [words, colour] of what lies over the radar. */
  legend() {
    if (["class", "network"].includes(this.overName)) return [["Undecided", this.state.undecided], ["Land", this.state.land]]; // classes: below
    if (this.overName === "flags") return this.state.doubts.map((d) => [d.title, d.colour]);
    if (this.overName === "changed") return [["Another class than the network's", [230, 60, 120]]];
    const ramps = { ice: [["0 %", [16, 74, 140]], ["50 %", [142, 188, 227]], ["100 %", [255, 255, 255]]],
      certainty: [["0", [34, 30, 60]], ["0.5", [105, 115, 175]], ["1", [240, 245, 220]]] };
    if (this.overName === "nothing") return [];
    return ramps[this.overName] ?? [[this.overName === "confidence" ? "50 %" : "0 %", [246, 246, 238]], ["100 %", [24, 92, 118]]];
  }
}
