// The desk: what lies on the page, keys, and what follows when something is pressed.
/* global ol */
import { Drawing } from "./draw.js";
import { enter, finished, get, Outbox, post, Refused } from "./talk.js";
import { View } from "./view.js";

const $ = (name) => document.getElementById(name);
const text = (node, words) => { node.textContent = words; };
const make = (tag, words, more = {}) => Object.assign(document.createElement(tag), { textContent: words ?? "" }, more);
const percent = (share) => `${Math.round(100 * share)} %`;

let state, view, drawing, outbox, places = [], asking = null, learning = false, again = false;

function notice(words) {
  text($("notice"), words);
  $("notice").hidden = !words;
  clearTimeout(notice.timer);
  if (words) notice.timer = setTimeout(() => { $("notice").hidden = true; }, 12000);
}

async function attempt(work) {
  try { return await work(); } catch (error) { notice(error instanceof Refused ? error.message : `The desk does not answer (${error.message}).`); return null; }
}

// ---- keeping labels -------------------------------------------------------------------------------------------------

function onWaiting(n, failed, why) {
  $("kept").classList.toggle("bad", failed);
  if (why) notice(why);
  text($("kept"), failed ? `${why ? "Trying again" : "The desk does not answer"}: ${n} change${n > 1 ? "s are" : " is"} not kept yet` : "keeping …");
}

function onKept() {
  $("kept").classList.remove("bad");
  text($("kept"), "all kept");
  if ($("auto").checked) learn();
}

/** Another tab was faster: take its labels, and put what waits here on top of them. What both changed is kept twice. */
async function onStale(waiting, message) {
  const told = await get("/labels");
  const theirs = new Map(told.labels.map((l) => [l.id, l]));
  outbox.revision = told.revision;
  const rebased = [];
  let twice = 0;
  for (const commands of waiting) {
    const now = [];
    for (const command of commands) {
      if (command.remove) { if (theirs.has(command.remove)) now.push(command); continue; }
      const other = theirs.get(command.put.id), known = seen.get(command.put.id);
      if (other && known && other.modified !== known) {
        twice += 1;
        now.push({ put: { ...command.put, id: `${command.put.id}-${twice}-${Date.now().toString(36)}`.slice(0, 64), note: "Changed in two places at once" } });
      } else now.push(command);
    }
    if (now.length) rebased.push(now);
  }
  remember(told.labels);
  for (const commands of rebased) for (const c of commands) { if (c.put) theirs.set(c.put.id, c.put); else theirs.delete(c.remove); }
  drawing.load([...theirs.values()]);
  notice(twice ? `${message} ${twice} label(s) were changed in both: both are kept.` : "Labels were changed in another window; they were loaded, and yours are kept, too.");
  return rebased;
}

async function onRefused(message) {
  notice(message);
  await loadLabels();
}

const seen = new Map();
function remember(labels) { for (const l of labels) seen.set(l.id, l.modified); }

async function loadLabels() {
  const told = await get("/labels");
  outbox.revision = told.revision;
  remember(told.labels);
  drawing.load(told.labels);
}

// ---- see ------------------------------------------------------------------------------------------------------------

function fill(select, options, title, chosen) {
  select.replaceChildren(...options.map((o) => make("option", title(o), { value: o })));
  select.value = options.includes(chosen) ? chosen : options[0];
}

function showScene(name) {
  view.show(name);
  const s = view.scene;
  text($("when"), s.time.replace("T", " ").slice(0, 16) + (s.time ? " UTC" : ""));
  const radar = s.bands.map((b) => b.name);
  const both = s.layers.includes("rgb") ? ["rgb"] : [];
  fill($("radar"), [...radar.filter((r) => !r.includes("/")), ...both, ...radar.filter((r) => r.includes("/"))], (o) => view.title(o), view.radarName);
  const own = s.layers.filter((l) => !radar.includes(l) && l !== "rgb");
  fill($("over"), ["class", "nothing", ...own.filter((l) => l !== "class")], (o) => (o === "nothing" ? "Nothing" : view.title(o)), view.overName);
  setRadar($("radar").value);
  setOver($("over").value);
  drawing.draw();
  drawing.setTool(drawing.tool);
  places = [];
  askAbout(null);
  $("reviewing").hidden = !state.chart;
  $("disagreements").replaceChildren();
  toggles();
  if (s.taught) text($("learnt"), `The map is taught by ${s.taught} labelled cells.`);
  else text($("learnt"), "The map is the network's alone. Mark places of each class, then map it anew.");
}

function setRadar(layer) {
  $("radar").value = layer;
  view.setRadar(layer);
  const bands = view.scene.bands.filter((b) => (layer === "rgb" ? !b.name.includes("/") : b.name === layer));
  $("stretch").replaceChildren(...bands.map((band) => {
    const [low, high] = view.stretch[band.name] ?? band.shown;
    const row = make("label"), words = make("output");
    const ends = [low, high].map((v, k) => Object.assign(document.createElement("input"), { type: "range", min: band.low, max: band.high, step: 0.5, value: v,
      ariaLabel: `${band.name}: ${k ? "white" : "black"} at, dB` }));
    const told = () => text(words, `${ends[0].value} … ${ends[1].value} dB`.replaceAll("-", "−"));
    for (const end of ends) {
      end.addEventListener("input", told);
      end.addEventListener("change", () => {
        const [a, b] = ends.map((e) => Number(e.value));
        view.stretch[band.name] = a < b ? [a, b] : [b - 0.5, b];
        view.setRadar(view.radarName);
      });
    }
    told();
    row.append(make("span", band.name), ...ends, words);
    return row;
  }));
}

function setOver(layer) {
  $("over").value = layer;
  view.setOver(layer);
  $("legend").replaceChildren(...view.legend().map(([words, colour]) => {
    const item = make("li"), swatch = make("span", "", { className: "swatch" });
    swatch.style.backgroundColor = `rgb(${colour.join(",")})`;
    item.append(swatch, make("span", words));
    return item;
  }));
}

function cycle(select, act) {
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  act(select.value);
}

function swipe(on) {
  view.swipeAt = on ? Number($("swipe").value) / 100 : null;
  $("swipe").hidden = !on;
  $("swiping").setAttribute("aria-pressed", String(on));
  view.map.render();
}

function flicker(off) {
  view.over.setVisible(!off);
  $("flicker").setAttribute("aria-pressed", String(off));
}

function toggles() {
  view.edge.setVisible($("show-edge").checked);
  view.chart.setVisible($("show-chart").checked);
  view.grid.setVisible($("show-grid").checked);
  view.labels.setVisible($("show-labels").checked);
  if ($("show-edge").checked) attempt(() => view.lines("edge", view.edge));
  if ($("show-chart").checked) attempt(() => view.lines("chart", view.chart));
}

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  text($("theme"), dark ? "Light" : "Dark");
  try { localStorage.setItem("frazil-theme", dark ? "dark" : "light"); } catch { /* a browser that keeps nothing */ }
}

let pointing = 0, waitingPlace = null, lastPlace = null;
async function underCursor(x, y) {
  waitingPlace = lastPlace = [x, y];
  if (pointing) return;
  pointing = 1;
  try {
    while (waitingPlace) {
      const [px, py] = waitingPlace;
      waitingPlace = null;
      const told = await get(`/value/${encodeURIComponent(view.name)}?x=${px}&y=${py}`);
      text($("place"), told.lonlat ? `${Math.abs(told.lonlat[1]).toFixed(3)}° ${told.lonlat[1] < 0 ? "S" : "N"}, ${Math.abs(told.lonlat[0]).toFixed(3)}° ${told.lonlat[0] < 0 ? "W" : "E"}` : "outside");
      text($("value"), words(told));
    }
  } catch { /* the next move asks again */ } finally { pointing = 0; }
}

function words(told) {
  if (told.code === undefined) return "";
  const minus = (v) => String(v).replace("-", "−");
  const parts = Object.entries(told.db).filter(([name]) => !name.includes("/")).map(([name, db]) => `${name} ${minus(db)}`);
  if (parts.length) parts.push(`${parts.splice(0).join(" ")} dB`);
  if (told.angle) parts.push(`${told.angle.toFixed(1)}°`);
  if (told.nesz_db?.length) parts.push(`NESZ ${told.nesz_db.map(minus).join(" ")}`);
  const name = told.code === 255 ? "" : told.code === 254 ? "land" : told.code === 253 ? "undecided" : state.classes[told.code].title;
  if (name) parts.unshift(told.percent ? `${name} (${shares(told.percent)})` : name);
  if (told.flags?.length) parts.push(told.flags.filter((f) => f !== "undecided" && f !== "land").join(", "));
  return parts.filter(Boolean).join(" · ");
}

/** The likeliest classes, those below a tenth left out. */
const shares = (percents) => percents.map((p, k) => [p, state.classes[k].title]).filter(([p]) => p >= 10).sort((a, b) => b[0] - a[0])
  .map(([p, name]) => `${name} ${p} %`).join(", ");

// ---- label ----------------------------------------------------------------------------------------------------------

function classes() {
  $("classes").replaceChildren(...state.classes.map((c, k) => {
    const button = make("button", "", { type: "button" });
    button.setAttribute("role", "radio");
    button.dataset.code = c.code;
    const swatch = make("span", "", { className: "swatch" });
    swatch.style.backgroundColor = `rgb(${c.colour.join(",")})`;
    button.append(swatch, make("span", c.title), make("kbd", String(k + 1)));
    button.addEventListener("click", () => pickClass(c.code));
    return button;
  }));
}

function pickClass(code) {
  if (asking) return answerPlace(code);
  drawing.recode(code);
}

function changed(what, x, y) {
  if (what === "segment") return attempt(async () => {
    const { rings } = await get(`/segment/${encodeURIComponent(view.name)}?x=${x}&y=${y}`);
    if (rings.length) drawing.put(rings, { origin: "segment" }); else notice("There is no class here: it is land, or was not observed.");
  });
  for (const b of $("classes").children) b.setAttribute("aria-checked", String(Number(b.dataset.code) === drawing.code));
  for (const b of $("tools").children) b.setAttribute("aria-pressed", String(b.dataset.tool === drawing.tool));
  $("undo").disabled = !drawing.history.length;
  $("redo").disabled = !drawing.future.length;
  $("remove").disabled = !drawing.chosen;
  const mine = [...drawing.labels.values()].filter((l) => l.scene === view.name);
  const counts = state.classes.map((c) => [c.title, mine.filter((l) => l.code === c.code && l.purpose === "learn").length]).filter(([, n]) => n);
  const tests = mine.filter((l) => l.purpose === "test").length;
  text($("counts"), counts.length || tests ? [...counts.map(([name, n]) => `${name}: ${n}`), ...(tests ? [`to test: ${tests}`] : [])].join(" · ") : "No labels on this scene yet.");
  return null;
}

function setSize(value) {
  const size = Math.min(Math.max(Number(value), 1), 30);
  $("size").value = size;
  drawing.sizeKm = Math.round(size * view.scene.cell) / 1000;
  text($("size-km"), `${drawing.sizeKm.toFixed(1)} km`);
}

// ---- learn ----------------------------------------------------------------------------------------------------------

async function learn() {
  if (learning) { again = true; return; }
  learning = true;
  $("learn").disabled = true;
  await attempt(async () => {
    const { job } = await post("/learn", { scene: view.name });
    const found = await finished(job);
    const scene = state.scenes.find((s) => s.name === found.scene);
    Object.assign(scene, { version: found.version, taught: found.cells });
    if (found.scene === view.name) {
      view.refresh();
      if (lastPlace) underCursor(...lastPlace);
      text($("learnt"), found.cells ? `The map is taught by ${found.cells} labelled cells, in ${found.seconds.toFixed(1)} s.` : "The map is the network's alone.");
      if (found.unused) notice(`${found.unused} label${found.unused > 1 ? "s lie" : " lies"} on land or outside of the scene: nothing is learnt from ${found.unused > 1 ? "them" : "it"}.`);
      told(found);
    }
  });
  learning = false;
  $("learn").disabled = false;
  if (again) { again = false; learn(); }
}

function told(score) {
  $("score").hidden = !score.tests;
  if (score.tests) text($("score"), `Right at ${percent(score.right)} of ${score.tests} places drawn by lot (${percent(score.interval[0])} to ${percent(score.interval[1])}); the network alone at ${percent(score.network_right)}.`);
}

// ---- where to look next ---------------------------------------------------------------------------------------------

function askAbout(place) {
  asking = place;
  view.asked.getSource().clear();
  if (!place) {
    text($("asked"), "Places of which the map is unsure. Every fourth is drawn by lot: it is kept to test the map, and never learnt from.");
    return;
  }
  const [ring] = drawing.square(place.x, place.y, place.half);
  view.asked.getSource().addFeature(new ol.Feature(new ol.geom.Polygon([ring])));
  view.map.getView().animate({ center: [place.x, place.y], resolution: Math.min(view.map.getView().getResolution(), place.half / 12), duration: 250 });
  text($("asked"), place.purpose === "test" ? "Drawn by lot, to test the map: which class is in the square? Keys 1 to 9; K: cannot be told."
    : "The map is unsure here: which class is in the square? Keys 1 to 9; K: cannot be told.");
}

async function propose() {
  const found = await attempt(() => get(`/places/${encodeURIComponent(view.name)}`));
  if (!found) return;
  places = found.places;
  told(found);
}

async function nextPlace() {
  if (!places.length) await propose();
  askAbout(places.shift() ?? null);
}

function answerPlace(code) {
  const place = asking;
  drawing.code = code;
  drawing.put(drawing.square(place.x, place.y, place.half), { purpose: place.purpose, origin: "queue" });
  nextPlace();
}

// ---- review, take away ----------------------------------------------------------------------------------------------

async function review() {
  await attempt(async () => {
    const { job } = await post("/review", { scene: view.name });
    await finished(job);
    const found = await get(`/disagreements/${encodeURIComponent(view.name)}`);
    const source = view.differ.getSource();
    source.clear();
    const features = new ol.format.GeoJSON().readFeatures(found);
    source.addFeatures(features);
    $("disagreements").replaceChildren(...features.map((f, number) => entry(f, number)));
    if (!features.length) notice("Map and chart agree about ice, but for patches below 25 km².");
  });
}

function entry(feature, number) {
  const p = feature.getProperties(), over = p.kind === "over";
  const item = make("li");
  const show = make("button", `${over ? "Map ice, chart water" : "Map water, chart ice"}: ${Math.round(p.area_km2)} km², ${Math.round(p.confidence)} % sure`, { type: "button" });
  show.addEventListener("click", () => view.map.getView().fit(feature.getGeometry(), { padding: [80, 80, 80, 80], duration: 250 }));
  const note = Object.assign(document.createElement("input"), { type: "text", maxLength: 300, placeholder: "comment", ariaLabel: "Comment" });
  const buttons = make("div", "", { className: "buttons" });
  const says = { map: "the map is right", chart: "the chart is right", unsure: "it cannot be told" };
  const done = async (verdict, code) => {
    const kept = await attempt(() => post("/verdict", { scene: view.name, number, verdict, comment: note.value }));
    if (!kept) return;
    const outline = feature.getGeometry().getCoordinates();
    if (code !== null) drawing.put(outline, { origin: "review", code, note: [says[verdict], note.value].filter(Boolean).join(": ") });
    text(show, `${show.textContent} – ${says[verdict]}`);
    text($("verdicts"), Object.entries(kept.verdicts).map(([said, n]) => `${said}: ${n}`).join(" · "));
    for (const b of buttons.children) b.disabled = true;
  };
  const water = make("button", "Water", { type: "button" }), ice = make("button", "Ice: class chosen above", { type: "button" }), unsure = make("button", "Unsure", { type: "button" });
  water.addEventListener("click", () => done(over ? "chart" : "map", 0));
  ice.addEventListener("click", () => { if (drawing.code === 0) notice("Choose the class of ice first (keys 2 to 9)."); else done(over ? "map" : "chart", drawing.code); });
  unsure.addEventListener("click", () => done("unsure", null));
  buttons.append(water, ice, unsure, note);
  item.append(show, buttons);
  return item;
}

async function takeAway() {
  text($("taken"), "Writing …");
  const found = await attempt(async () => finished((await post("/export", { scene: view.name })).job));
  text($("taken"), found ? `Written: ${found.map}, ${found.chart}, ${found.labels}` : "");
}

// ---- train ----------------------------------------------------------------------------------------------------------

async function train() {
  const begun = await attempt(() => post("/train", { method: $("method").value, epochs: Number($("epochs").value) }));
  if (begun) followTraining();
}

async function followTraining() {
  for (;;) {
    const now = await attempt(() => get("/training"));
    if (!now || now.method === undefined) return;
    $("train").disabled = now.running;
    $("stop").disabled = !now.running;
    const scores = Object.entries(now.scores ?? {}).filter(([, s]) => s.tests).map(([name, s]) => `${name}: right at ${percent(s.right)} of ${s.tests} places drawn by lot (${percent(s.interval[0])} to ${percent(s.interval[1])})`);
    text($("trained"), now.error ? `It failed: ${now.error}` : now.done ? [`Done: ${now.folder}.`, ...scores].join(" ")
      : now.running ? `${now.doing} … ${now.line}` : "Stopped; Train goes on where it was.");
    if (!now.running) return;
    await new Promise((done) => setTimeout(done, 1500));
  }
}

// ---- keys -----------------------------------------------------------------------------------------------------------

const KEYS = { m: "none", c: "click", p: "polygon", b: "brush", s: "segment", e: "edit", h: "hole", x: "split" };

function pressed(event) {
  if ($("keys").open) return;
  if (event.target.matches("input[type=text], input[type=number], select")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" && !event.shiftKey) drawing.undo();
    else if (key === "y" || key === "z") drawing.redo();
    else return;
    event.preventDefault();
    return;
  }
  if (event.altKey) return;
  if (/^[1-9]$/.test(key)) { if (Number(key) <= state.classes.length) pickClass(Number(key) - 1); }
  else if (KEYS[key]) drawing.setTool(KEYS[key]);
  else if (key === "[" || key === "]") setSize(Number($("size").value) + (key === "]" ? 1 : -1));
  else if (key === "Delete" || key === "Backspace") drawing.remove();
  else if (key === "Escape") { askAbout(null); drawing.choose(null); drawing.setTool(drawing.tool); }
  else if (key === "l") learn();
  else if (key === "n") nextPlace();
  else if (key === "k") { if (asking) nextPlace(); }
  else if (key === "v") cycle($("radar"), setRadar);
  else if (key === "o") cycle($("over"), setOver);
  else if (key === "f") flicker(true);
  else if (key === "w") swipe(view.swipeAt === null);
  else if (key === "0") view.whole();
  else if (key === "d") theme(document.documentElement.dataset.theme !== "dark");
  else if (key === "?") $("keys").showModal();
  else return;
  event.preventDefault();
}

function wire() {
  $("scene").addEventListener("change", (e) => showScene(e.target.value));
  $("radar").addEventListener("change", (e) => setRadar(e.target.value));
  $("over").addEventListener("change", (e) => setOver(e.target.value));
  $("opacity").addEventListener("input", (e) => view.over.setOpacity(Number(e.target.value) / 100));
  $("flicker").addEventListener("pointerdown", () => flicker(true));
  for (const up of ["pointerup", "pointerleave"]) $("flicker").addEventListener(up, () => flicker(false));
  $("swiping").addEventListener("click", () => swipe(view.swipeAt === null));
  $("swipe").addEventListener("input", () => swipe(true));
  $("whole").addEventListener("click", () => view.whole());
  for (const name of ["show-edge", "show-chart", "show-grid", "show-labels"]) $(name).addEventListener("change", toggles);
  for (const b of $("tools").children) b.addEventListener("click", () => drawing.setTool(b.dataset.tool));
  $("size").addEventListener("input", (e) => setSize(e.target.value));
  $("snap").addEventListener("change", (e) => { drawing.snap = e.target.checked; drawing.setTool(drawing.tool); });
  $("undo").addEventListener("click", () => drawing.undo());
  $("redo").addEventListener("click", () => drawing.redo());
  $("remove").addEventListener("click", () => drawing.remove());
  $("learn").addEventListener("click", learn);
  $("next").addEventListener("click", nextPlace);
  $("again").addEventListener("click", propose);
  $("review").addEventListener("click", review);
  $("export").addEventListener("click", takeAway);
  $("train").addEventListener("click", train);
  $("stop").addEventListener("click", () => attempt(() => post("/stop")));
  $("save").addEventListener("click", () => attempt(async () => text($("taken"), `Written: ${(await post("/save")).labels}`)));
  $("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));
  $("help").addEventListener("click", () => $("keys").showModal());
  document.addEventListener("keydown", pressed);
  document.addEventListener("keyup", (e) => { if (e.key.toLowerCase() === "f") flicker(false); });
  view.map.on("pointermove", (e) => underCursor(...e.coordinate));
  window.addEventListener("beforeunload", (e) => { if (outbox.waiting.length) e.preventDefault(); });
}

async function watch() {
  for (;;) {
    await new Promise((done) => setTimeout(done, learning ? 300 : 1500));
    try {
      const now = await get("/state");
      $("job").hidden = !now.job.number;
      if (now.job.number) { $("progress").value = now.job.fraction; text($("doing"), now.job.doing); }
      for (const words of now.notes) if (!watch.told.has(words)) { watch.told.add(words); notice(words); }
      if (now.revision !== outbox.revision && !outbox.waiting.length && !outbox.sending) {
        await loadLabels();
        notice("Labels were changed in another window; they were loaded anew.");
      }
    } catch { onWaiting(outbox.waiting.length, outbox.waiting.length > 0); }
  }
}
watch.told = new Set();

async function start() {
  let dark = false;
  try { dark = (localStorage.getItem("frazil-theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark"; } catch { /* as above */ }
  theme(dark);
  try {
    await enter();
    state = await get("/state");
  } catch (error) { notice(error.message); return; }
  view = new View(state);
  outbox = new Outbox(state.revision, { onKept, onWaiting, onStale, onRefused });
  drawing = new Drawing(view, { send: (commands) => outbox.push(commands), changed, notice });
  $("scene").replaceChildren(...state.scenes.map((s) => make("option", s.title, { value: s.name })));
  view.name = state.scenes[0].name;
  classes();
  $("method").replaceChildren(...state.methods.map((m) => make("option", m, { value: m })));
  wire();
  showScene(view.name);
  setSize(3);
  await attempt(loadLabels);
  text($("kept"), "all kept");
  document.body.dataset.ready = "yes";
  window.desk = { view, drawing, get outbox() { return outbox; } };
  watch();
  followTraining();
}

start();
