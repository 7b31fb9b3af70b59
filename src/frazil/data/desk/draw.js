// Drawing labels: tools, one history of commands, what is chosen.
/* global ol */
import { post } from "./talk.js";

const id = () => `l${Date.now().toString(36)}${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
const rings = (geometry) => geometry.getCoordinates().map((ring) => ring.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]));
const copy = (label) => structuredClone(label);

export class Drawing {
  constructor(view, { send, changed, notice }) {
    this.view = view;
    this.on = { send, changed, notice };
    this.labels = new Map();
    this.code = 0;
    this.tool = "none";
    this.chosen = null;
    this.history = [];
    this.future = [];
    this.sizeKm = 1.8;
    this.snap = true;
    this.map = view.map;
    this.interactions = [];
    this.map.on("singleclick", (event) => this.clicked(event));
  }

  get source() { return this.view.labels.getSource(); }

  /** Take all labels anew, as the desk has them. */
  load(labels) {
    this.labels = new Map(labels.map((l) => [l.id, l]));
    this.draw();
  }

  /** Put the labels of the scene shown on the map. */
  draw() {
    this.source.clear();
    for (const label of this.labels.values()) if (label.scene === this.view.name) this.add(label);
    this.choose(null);
    this.on.changed();
  }

  add(label) {
    const feature = new ol.Feature(new ol.geom.Polygon(label.rings));
    feature.setId(label.id);
    feature.setProperties({ code: label.code, purpose: label.purpose });
    this.source.addFeature(feature);
    return feature;
  }

  /** Do commands, and remember how to undo them. */
  act(commands) {
    const undo = [];
    for (const command of commands) {
      const key = command.remove ?? command.put.id;
      const before = this.labels.get(key);
      undo.unshift(before ? { put: copy(before) } : { remove: key });
    }
    this.history.push({ forth: commands, back: undo });
    this.future = [];
    this.carryOut(commands);
  }

  carryOut(commands) {
    for (const command of commands) {
      const key = command.remove ?? command.put.id;
      const old = this.source.getFeatureById(key);
      if (old) this.source.removeFeature(old);
      if (command.put) {
        this.labels.set(key, command.put);
        if (command.put.scene === this.view.name) this.add(command.put);
      } else this.labels.delete(key);
    }
    this.choose(null);
    this.on.send(commands);
    this.on.changed();
  }

  undo() {
    const last = this.history.pop();
    if (!last) return;
    this.future.push(last);
    this.carryOut(last.back.filter((c) => c.put || this.labels.has(c.remove)));
  }

  redo() {
    const next = this.future.pop();
    if (!next) return;
    this.history.push(next);
    this.carryOut(next.forth.filter((c) => c.put || this.labels.has(c.remove)));
  }

  label(outline, more = {}) {
    return { id: id(), scene: this.view.name, code: this.code, rings: outline, purpose: "learn", origin: this.tool,
      product: this.view.scene.title, ...more };
  }

  put(outline, more = {}) { this.act([{ put: this.label(outline, more) }]); }

  remove() {
    if (this.chosen) this.act([{ remove: this.chosen }]);
  }

  choose(key) {
    this.chosen = key;
    this.source.forEachFeature((f) => f.setStyle(f.getId() === key ? this.view.labelStyle(f, true) : undefined));
    this.on.changed();
  }

  /** Give the label that is chosen another class. */
  recode(code) {
    this.code = code;
    const label = this.chosen && this.labels.get(this.chosen);
    if (label && label.code !== code) {
      const key = this.chosen;
      this.act([{ put: { ...copy(label), code } }]);
      this.choose(key);
    }
    this.on.changed();
  }

  square(x, y, halfM) {
    return [[[x - halfM, y - halfM], [x + halfM, y - halfM], [x + halfM, y + halfM], [x - halfM, y + halfM], [x - halfM, y - halfM]]];
  }

  async clicked(event) {
    const [x, y] = event.coordinate;
    if (this.tool === "click") this.put(this.square(x, y, this.sizeKm * 500), { origin: "click" });
    else if (this.tool === "segment") await this.on.changed("segment", x, y);
    else if (["none", "edit", "hole", "split"].includes(this.tool)) {
      const under = this.map.forEachFeatureAtPixel(event.pixel, (f) => f.getId(), { layerFilter: (l) => l === this.view.labels, hitTolerance: 4 });
      if (!this.busy) this.choose(under ?? null);
    }
  }

  setTool(tool) {
    for (const interaction of this.interactions) this.map.removeInteraction(interaction);
    this.interactions = [];
    this.tool = tool;
    this.busy = false;
    this.map.getTargetElement().classList.toggle("drawing", !["none", "edit"].includes(tool));
    const start = (interaction) => { this.map.addInteraction(interaction); this.interactions.push(interaction); return interaction; };
    if (tool === "polygon") {
      start(new ol.interaction.Draw({ type: "Polygon", stopClick: true })).on("drawend", (e) => this.put(rings(e.feature.getGeometry())));
    } else if (tool === "brush") {
      const brush = start(new ol.interaction.Draw({ type: "LineString", freehand: true }));
      brush.on("drawend", (e) => this.shape({ kind: "buffer", line: e.feature.getGeometry().getCoordinates(), radius: this.sizeKm * 500 })
        .then((found) => found && this.act(found.map((outline) => ({ put: this.label(outline) })))));
    } else if (tool === "hole" || tool === "split") {
      const type = tool === "hole" ? "Polygon" : "LineString";
      const draw = start(new ol.interaction.Draw({ type, stopClick: true }));
      draw.on("drawend", (e) => this.cut(tool, e.feature.getGeometry()));
    } else if (tool === "edit") {
      const modify = start(new ol.interaction.Modify({ source: this.source }));
      modify.on("modifyend", (e) => {
        const changed = e.features.getArray().filter((f) => this.labels.has(f.getId()))
          .map((f) => ({ before: this.labels.get(f.getId()), outline: rings(f.getGeometry()) }))
          .filter(({ before, outline }) => JSON.stringify(before.rings) !== JSON.stringify(outline));
        if (changed.length) this.act(changed.map(({ before, outline }) => ({ put: { ...copy(before), rings: outline } })));
      });
    }
    if (this.snap && ["polygon", "edit", "hole", "split"].includes(tool)) {
      start(new ol.interaction.Snap({ source: this.source }));
      start(new ol.interaction.Snap({ source: this.view.outlines }));
      this.view.loadOutlines();
    }
    this.on.changed();
  }

  /** Cut the label that is chosen, or the one that the line lies on. */
  async cut(how, geometry) {
    const key = this.chosen ?? this.touched(geometry);
    const label = key && this.labels.get(key);
    if (!label) { this.on.notice("Draw over the label that is to be cut, or choose it first."); return; }
    const asked = how === "hole" ? { kind: "hole", rings: label.rings, hole: rings(geometry)[0] } : { kind: "split", rings: label.rings, line: geometry.getCoordinates() };
    const found = await this.shape(asked);
    if (!found) return;
    const [first, ...others] = found;
    this.act([{ put: { ...copy(label), rings: first } }, ...others.map((outline) => ({ put: { ...copy(label), id: id(), rings: outline } }))]);
  }

  touched(geometry) {
    const extent = geometry.getExtent();
    let found = null;
    this.source.forEachFeatureIntersectingExtent(extent, (f) => { found = f.getId(); return true; });
    return found;
  }

  async shape(asked) {
    try { return (await post("/shape", asked)).outlines; } catch (error) { this.on.notice(error.message); return null; }
  }
}
