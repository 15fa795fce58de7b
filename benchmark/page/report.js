"use strict";
// Texts of the data become text nodes and attributes, never markup. Names of files are joined by `encodeURIComponent`.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const make = (tag, text, kind) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};
const draw = (tag, kind, values) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  if (kind) node.setAttribute("class", kind);
  for (const [name, value] of Object.entries(values || {})) node.setAttribute(name, value);
  return node;
};

const INPUT = 0, TRUTH = 1, FIRST = 2;  // the pictures of a sample: the input, the truth, then one per method
const names = ["input", "ground truth", ...data.methods];
const pictured = data.pictures !== "none";
const state = { a: FIRST + Math.max(0, data.controls.indexOf(false)), b: TRUTH, cut: 50, zoom: 0, current: null };
const TILES = [72, 96, 118, 150, 200, 280, 380];
const ZOOMS = [0, 1, 2, 4];  // 0: as large as fits; else screen pixels per pixel of the photo
const AREAS = data.areas;  // [low, high, name]; the last one has no upper bound
const ORDERS = [["", "data order"], ["worst", "worst first"], ["best", "best first"], ["ahead", "largest lead"],
  ["behind", "largest lag"], ["apart", "largest difference"], ["small", "smallest mask first"],
  ["large", "largest mask first"]];
const DIFFERENCES = ["ahead", "behind", "apart"], BY_SCORE = ["worst", "best", ...DIFFERENCES];

// Scores

const failed = (sample, m) => sample.failed[m];
const score = (sample, m, column) => {
  const k = data.columns[m].indexOf(column);
  return k < 0 || failed(sample, m) ? null : sample.scores[m][k];
};
function shown(found) {
  if (found === "identical") return "= truth";
  if (typeof found !== "number") return found || "-";
  const size = Math.abs(found);
  return found.toFixed(size >= 10 || size === 0 ? 2 : size >= 0.1 ? 3 : size >= 0.01 ? 4 : 5);
}
const written = (sample, m, column) => (failed(sample, m) ? "failed" : shown(score(sample, m, column)));
const arrow = (column) => (data.higher[column] ? "↑" : "↓");
function merit(sample, m, column) {  // larger is better; null: no score
  const found = score(sample, m, column);
  if (found === "identical") return Infinity;
  return typeof found === "number" ? (data.higher[column] ? found : -found) : null;
}
function difference(sample, one, other, column) {  // merit of one minus merit of the other
  const left = merit(sample, one, column), right = merit(sample, other, column);
  if (left === null || right === null) return null;
  return left === right ? 0 : left - right;
}
function best(sample, column) {  // the methods with the best score; none if there is nothing to compare
  const found = data.methods.map((_, m) => (data.controls[m] ? null : merit(sample, m, column)));
  const known = found.filter((value) => value !== null);
  const top = Math.max(...known);
  return known.length < 2 || known.every((value) => value === top) ? [] : found.map((value) => value === top);
}

// Pictures

const address = (sample, file) => ["pictures", sample.anchor, file].map(encodeURIComponent).join("/");
const has = (sample, k) => Boolean(sample.files && sample.files[k]);
const reason = (sample, k) => (k >= FIRST ? failed(sample, k - FIRST) : "");

function place(node, sample) {  // where the crop lies in the photo, in per cent
  const [x, y, w, h] = sample.box || [0, 0, 4, 3], width = sample.width || 4, height = sample.height || 3;
  const values = { "--x": x / width, "--y": y / height, "--w": w / width, "--h": h / height };
  for (const [name, value] of Object.entries(values)) node.style.setProperty(name, 100 * value + "%");
  node.style.setProperty("--square", w / h);
  node.style.setProperty("--photo", width / height);
}
function outline(sample) {
  const [, , w, h] = sample.box;
  const node = draw("svg", "line", { viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  node.append(draw("path", "under", { d: sample.outline }), draw("path", "over", { d: sample.outline }),
    draw("rect", "around", { width: w, height: h }));
  return node;
}
function layers(sample, k, lazy) {  // the whole photo, which is hidden while crops are shown, and the crop over it
  const image = (file, kind, text) => {
    const node = make("img", undefined, kind);
    if (lazy) node.loading = "lazy";
    node.decoding = lazy ? "async" : "sync";  // a swap of A and B must not flash
    node.draggable = false; node.alt = text; node.src = address(sample, file);
    return node;
  };
  if (!has(sample, k)) {
    const why = reason(sample, k);
    return [make("span", why ? `failed: ${why}` : "no picture", why ? "why failed" : "why")];
  }
  const whole = sample.wholes[k] || sample.wholes[INPUT];
  return [...(whole ? [image(whole, "base", "")] : []), image(sample.files[k], "crop", `${names[k]} of ${sample.id}`)];
}

// A row: a sample with a tile per picture

const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const facts = (sample) => [sample.category, sample.background && `on ${sample.background}`,
  sample.share === null ? "" : `mask ${(100 * sample.share).toFixed(sample.share < 0.1 ? 1 : 0)} %`,
  sample.width ? `${sample.width} × ${sample.height}` : "",
  sample.unreadable && `cannot be read: ${sample.unreadable}`].filter(Boolean).join(", ");

class Row {
  constructor(sample, number) {
    this.sample = sample; this.number = number;
    const node = this.node = make("article");
    node.id = sample.anchor; node.tabIndex = -1; node.row = this;
    node.setAttribute("aria-label", sample.id);
    place(node, sample);
    const title = make("div", undefined, "title"), heading = make("h2");
    this.link = make("a", sample.id); this.link.href = "#" + sample.anchor; this.link.tabIndex = -1;
    this.key = make("span", "", "key");
    heading.append(this.link);
    title.append(heading, make("span", facts(sample), "muted"), this.key);
    const box = make("div", undefined, "tiles");
    const kept = (k) => k >= FIRST || (pictured && (k === INPUT || truths));
    this.tiles = [...names.keys()].filter(kept).map((k) => this.tile(k));
    box.append(...this.tiles);
    node.append(title, box);
    node.addEventListener("click", (event) => { if (!event.target.closest("a")) select(this); });
  }
  tile(k) {
    const node = make("button", undefined, "tile"), m = k - FIRST;
    node.type = "button"; node.k = k; node.tabIndex = -1;
    if (m >= 0 && failed(this.sample, m)) node.classList.add("failed");
    if (m >= 0 && data.controls[m]) node.classList.add("control");
    if (pictured) {
      const frame = make("span", undefined, "frame shape"), layer = make("span", undefined, "layer");
      layer.append(...layers(this.sample, k, true));
      if (k === INPUT && this.sample.box) layer.append(outline(this.sample));
      frame.append(layer); node.append(frame);
    }
    const name = make("span", undefined, "name");
    name.append(make("i", "A", "letter a"), make("i", "B", "letter b"), names[k]);
    node.append(name);
    if (m >= 0) node.append(make("span", "", "score"));
    node.title = pictured ? "click: picture A, shift and click: picture B" : "";
    node.addEventListener("click", (event) => { select(this); choose(k, event.shiftKey); open(); });
    return node;
  }
  write(column) {
    const top = best(this.sample, column);
    for (const node of this.tiles) {
      const m = node.k - FIRST;
      if (m < 0) continue;
      node.lastChild.textContent = written(this.sample, m, column);
      node.classList.toggle("best", Boolean(top[m]));
    }
    this.key.textContent = sortedBy(this.sample);
  }
  mark() {
    for (const node of this.tiles) {
      node.classList.toggle("isA", pictured && node.k === state.a);
      node.classList.toggle("isB", pictured && node.k === state.b);
    }
  }
  reach(on) {  // only the current row is on the way of the Tab key
    this.node.tabIndex = on ? 0 : -1;
    this.node.classList.toggle("here", on);
    for (const node of [this.link, ...this.tiles]) node.tabIndex = on ? 0 : -1;
  }
}
const chosen = () => ({  // what the menus say
  how: $("order").value, column: $("column").value, one: Number($("method").value), other: Number($("other").value),
});
function sortedBy(sample) {
  const { how, column, one, other } = chosen();
  if (!BY_SCORE.includes(how)) return "";
  const text = (m) => `${data.methods[m]} ${shown(score(sample, m, column))}`;
  if (!DIFFERENCES.includes(how)) return text(one);
  const found = difference(sample, one, other, column);
  const by = Number.isFinite(found) ? `by ${shown(Math.abs(found))}` : "(= truth)";
  const gap = found === null ? "no difference" : found === 0 ? "equal"
    : `${data.methods[found > 0 ? one : other]} better ${by}`;
  return `${text(one)}, ${text(other)}: ${gap}`;
}

// The viewer: two pictures of the current sample and a line between them

function view() {
  const row = state.current;
  $("viewer").hidden = !row;
  if (!row) return;
  const { sample } = row;
  $("which").textContent = sample.id; $("facts").textContent = facts(sample); $("facts").title = facts(sample);
  $("previous").disabled = order.indexOf(row) <= 0; $("next").disabled = order.indexOf(row) === order.length - 1;
  $("reduced").textContent = sample.scale < 1 ? `crop at ${(100 * sample.scale).toFixed(0)} % of its size` : "";
  if (pictured) {
    place($("stage"), sample);
    for (const [id, k] of [["first", state.a], ["second", state.b]]) {
      $(id).replaceChildren(...layers(sample, k, false));
    }
    if (sample.box) $("second").after(lined(sample)); else $("stage").querySelector(":scope > .layer.lines")?.remove();
    size();
  }
  $("scores").replaceChildren(scores(sample));
}
function lined(sample) {
  $("stage").querySelector(":scope > .layer.lines")?.remove();
  const node = make("span", undefined, "layer lines");
  node.append(outline(sample));
  return node;
}
function size() {
  const { sample } = state.current, zoom = ZOOMS[state.zoom], whole = document.body.classList.contains("whole");
  const wide = (whole ? sample.width : sample.box && sample.box[2]) || 0;
  $("stage").classList.toggle("zoomed", zoom > 0);
  $("stage").style.setProperty("--wide", wide * zoom / devicePixelRatio + "px");
  $("zoom").textContent = zoom ? `${zoom}:1` : "Fit";
}
function scores(sample) {
  const columns = [...new Set([$("column").value, ...data.headline])].filter(Boolean);
  const grid = make("table"), head = make("tr"), body = make("tbody"), above = make("thead");
  const top = columns.map((column) => best(sample, column));
  head.append(make("th", "method"), ...columns.map((column) => {
    const [metric, ...where] = column.split("/"), cell = make("th", `${metric} ${arrow(column)}`, "n");
    cell.append(make("small", where.join("/")));
    return cell;
  }));
  data.methods.forEach((name, m) => {
    const line = make("tr", undefined, data.controls[m] ? "control" : undefined), first = make("td");
    for (const [side, k] of [["a", state.a], ["b", state.b]]) {
      if (pictured && k === m + FIRST) first.append(make("i", side.toUpperCase(), `letter shown ${side}`));
    }
    first.append(name); first.title = name;
    line.append(first, ...columns.map((column, k) => make("td", written(sample, m, column), top[k][m] ? "n best" : "n")));
    line.addEventListener("click", (event) => choose(m + FIRST, event.shiftKey));
    body.append(line);
  });
  above.append(head); grid.append(above, body);
  return grid;
}
function cut(at) {
  state.cut = Math.max(0, Math.min(100, at));
  $("slider").value = state.cut;
  $("slider").setAttribute("aria-valuetext", `${Math.round(state.cut)} % A: ${names[state.a]}, B: ${names[state.b]}`);
  $("stage").style.setProperty("--cut", state.cut + "%");
  $("tagA").hidden = state.cut < 12; $("tagB").hidden = state.cut > 88;
}
function choose(k, isRight) {
  if (k < 0 || k >= names.length) return;
  state[isRight ? "b" : "a"] = k;
  paired();
}
function paired() {
  $("left").value = state.a; $("right").value = state.b;
  $("tagA").textContent = names[state.a]; $("tagB").textContent = names[state.b];
  for (const row of rows) row.mark();
  cut(state.cut); view();
}
function swap() { [state.a, state.b] = [state.b, state.a]; paired(); }

// The large view is the same viewer in a dialog. Narrow windows have no other.

const docked = () => getComputedStyle($("dock")).display !== "none";
function open(always) {
  if (!state.current || $("large").open || (!always && (docked() || !pictured))) return;
  $("large").append($("viewer")); $("large").showModal(); $("large").focus();
}
$("large").addEventListener("close", () => {
  $("dock").append($("viewer"));
  state.current.node.focus({ preventScroll: true });
  state.current.node.scrollIntoView({ block: "nearest" });
});

// Which rows are shown, and in which order

let order = [];
function select(row, focus, scroll) {
  if (row !== state.current) {
    state.current?.reach(false);
    state.current = row;
    row?.reach(true);
    view();
  }
  if (!row || $("large").open) return;
  if (focus) row.node.focus({ preventScroll: true });
  if (scroll) row.node.scrollIntoView({ block: scroll });
}
function step(by) {
  const at = order.indexOf(state.current), row = order[Math.max(0, Math.min(order.length - 1, at + by))];
  if (!row) return;
  const tile = document.activeElement?.closest?.(".tile"), k = tile ? tile.k : null;
  select(row, true, "nearest");
  if (k !== null && !$("large").open) row.tiles.find((node) => node.k === k)?.focus({ preventScroll: true });
}
function sorted() {
  const { how, column, one, other } = chosen();
  if (!how) return rows;
  const values = {
    worst: (s) => merit(s, one, column), best: (s) => merit(s, one, column),
    small: (s) => s.share, large: (s) => s.share,
    ahead: (s) => difference(s, one, other, column), behind: (s) => difference(s, one, other, column),
    apart: (s) => { const found = difference(s, one, other, column); return found === null ? null : Math.abs(found); },
  };
  const sign = ["worst", "small", "behind"].includes(how) ? 1 : -1;
  return rows.map((row) => [values[how](row.sample), row]).sort(([a, left], [b, right]) => {
    if (a === b) return left.number - right.number;
    if (a === null || b === null) return a === null ? 1 : -1;
    return a < b ? -sign : sign;
  }).map(([, row]) => row);
}
const within = (sample, k) => sample.share !== null && sample.share >= AREAS[k][0] && (AREAS[k][1] === null || sample.share < AREAS[k][1]);
const groups = { category: (s) => s.category, background: (s) => s.background, placement: (s) => s.placement || "" };
function passes(sample) {
  if ($("status").value === "failed" && !sample.failed.some(Boolean)) return false;
  if ($("status").value === "ok" && sample.failed.some(Boolean)) return false;
  if ($("area").value && !within(sample, Number($("area").value))) return false;
  for (const [id, of] of Object.entries(groups)) if ($(id).value && "=" + of(sample) !== $(id).value) return false;
  const text = `${sample.id} ${sample.category} ${sample.background}`.toLowerCase();
  return $("text").value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
function arrange() {
  const how = $("order").value;
  for (const node of document.querySelectorAll(".by")) node.hidden = !BY_SCORE.includes(how);
  document.querySelector(".versus").hidden = !DIFFERENCES.includes(how);
  order = sorted().filter((row) => passes(row.sample));
  for (const row of order) row.write($("column").value);
  $("list").replaceChildren(...order.map((row) => row.node));
  if (!order.length) $("list").append(make("p", "No sample matches.", "muted"));
  $("place").textContent = order.length === rows.length ? counted(rows.length, "sample") : `${order.length} of ${rows.length}`;
  const row = order.includes(state.current) ? state.current : order[0] || null;
  if (row === state.current) view(); else select(row);
}
function resort() {  // a new order starts at its first sample
  arrange();
  if (!order.length) return;
  select(order[0]);
  if ($("bar").getBoundingClientRect().top <= 0) order[0].node.scrollIntoView({ block: "start" });
}
function compareSorted() {  // sorting by a difference also compares the two methods in the viewer
  if (DIFFERENCES.includes($("order").value)) {
    state.a = Number($("method").value) + FIRST; state.b = Number($("other").value) + FIRST;
    paired();
  }
  resort();
}
function visit() {
  const row = rows.find((found) => "#" + found.sample.anchor === location.hash);
  if (!row) return;
  if (!order.includes(row)) {
    for (const name of ["status", "area", "category", "background", "placement", "text"]) $(name).value = "";
    arrange();
  }
  select(row, true, "start");
}

// Keys

function toggle(kind) {
  const on = document.body.classList.toggle(kind);
  for (const node of document.querySelectorAll(`[data-toggle="${kind}"]`)) node.setAttribute("aria-pressed", on);
  if (kind !== "whole" || !state.current) return;
  size();
  if (!$("large").open) state.current.node.scrollIntoView({ block: "nearest" });
}
function zoom() { state.zoom = (state.zoom + 1) % ZOOMS.length; if (state.current) size(); }
let tile = 2;
function resize(by) {
  tile = Math.max(0, Math.min(TILES.length - 1, tile + by));
  document.documentElement.style.setProperty("--tile", TILES[tile] + "px");
}
function along(node, by) {  // from tile to tile
  const tiles = state.current.tiles, at = tiles.indexOf(node) + by;
  tiles[Math.max(0, Math.min(tiles.length - 1, at))].focus();
}
function turn(by, isRight) {  // the next picture on one side
  const side = isRight ? "b" : "a";
  choose((state[side] + by + names.length) % names.length, isRight);
}
const KEYS = [
  ["↑ ↓ k j", "previous, next sample"], ["← →", "move the line (Shift: further); on a tile: from tile to tile"],
  ["1 … 9", "method 1 to 9 as picture A (Shift: as B)"], ["i t", "input, ground truth as picture A (Shift: as B)"],
  ["[ ]", "previous, next picture as A (Shift: as B)"], ["x", "swap A and B"], ["b", "blink: only A, only B"],
  ["w", "whole photo or crop"], ["o", "outline of the mask"], ["p", "sharp pixels or smooth"],
  ["z", "size: fit, 1:1, 2:1, 4:1"],
  ["+ -", "larger, smaller tiles"], ["Enter", "large view; on a tile: picture A (Shift: B)"], ["Esc", "close"],
  ["s", "sort"], ["/", "search"], ["?", "these keys"],
];
const ACTIONS = {
  j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
  Home: () => step(-rows.length), End: () => step(rows.length),
  i: () => choose(INPUT, false), I: () => choose(INPUT, true),
  t: () => choose(TRUTH, false), T: () => choose(TRUTH, true),
  "[": () => turn(-1, false), "]": () => turn(1, false), "{": () => turn(-1, true), "}": () => turn(1, true),
  x: swap, b: () => cut(state.cut >= 50 ? 0 : 100),
  w: () => toggle("whole"), o: () => toggle("outlined"), p: () => toggle("pixels"),
  z: zoom, "+": () => resize(1), "=": () => resize(1), "-": () => resize(-1),
  s: () => { panel(true); $("order").focus(); }, "/": () => { panel(true); $("text").focus(); },
  "?": () => $("help").showModal(),
};
function panel(on) { $("more").setAttribute("aria-expanded", on); }
addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (target.matches("select, input[type=search]")) {
    if (key === "Escape" && !$("large").open) { target.blur(); state.current?.node.focus({ preventScroll: true }); }
    return;
  }
  const node = target.closest(".tile"), isControl = target.matches("button:not(.tile), input, summary, a");
  const digit = /^Digit([1-9])$/.exec(event.code);
  if (digit) {
    if (Number(digit[1]) <= data.methods.length) choose(Number(digit[1]) + INPUT + 1, event.shiftKey);
  } else if (key === "ArrowLeft" || key === "ArrowRight") {
    const by = key === "ArrowRight" ? 1 : -1;
    if (target.matches("input")) return;
    if (node && !$("large").open) along(node, by); else cut(state.cut + by * (event.shiftKey ? 10 : 2));
  } else if ((key === "Enter" || key === " ") && node) {
    select(node.closest("article").row); choose(node.k, event.shiftKey); open();
  } else if (key === "Enter" && !isControl) {
    open(true);
  } else if (ACTIONS[key] && !(target.matches("input[type=range]") && /^(Arrow|Home|End)/.test(key))) {
    ACTIONS[key]();
  } else return;
  event.preventDefault();
});

// The head, the menus, and the first drawing

function table(found) {
  const box = make("details"), wide = make("div", undefined, "wide"), grid = make("table"), head = make("tr");
  const kind = (k) => (k < found.words ? undefined : "n");
  head.append(...found.head.map((text, k) => make("th", text, kind(k))));
  const control = found.head.indexOf("control");
  const lines = found.rows.map((row) => {
    const line = make("tr", undefined, control >= 0 && row[control][0] === "yes" ? "control" : undefined);
    line.append(...row.map(([main, small, isBest], k) => {
      const cell = make("td", undefined, kind(k));
      cell.append(make(isBest ? "b" : "span", main));
      if (small) cell.append(make("small", small));
      return cell;
    }));
    return line;
  });
  grid.append(head, ...lines); wide.append(grid); box.append(make("summary", found.title), wide);
  return box;
}
function fill(id, options) {
  $(id).replaceChildren(...options.map(([at, text]) => {
    const node = make("option", text);
    node.value = at;
    return node;
  }));
}
const tally = (of) => {
  const counts = new Map();
  for (const sample of data.samples) counts.set(of(sample), (counts.get(of(sample)) || 0) + 1);
  return counts;
};
function menus() {
  const methods = data.methods.map((name, m) => [m, name]);
  fill("order", ORDERS.filter(([how]) => data.methods.length > 1 || !DIFFERENCES.includes(how)));
  fill("column", data.sortable.map((name) => [name, `${name} ${arrow(name)}`]));
  fill("method", methods); fill("other", methods);
  $("other").value = Math.min(1, methods.length - 1);
  const broken = data.samples.filter((sample) => sample.failed.some(Boolean)).length;
  fill("status", [["", "all"], ["failed", `failed (${broken})`], ["ok", `not failed (${data.samples.length - broken})`]]);
  $("status").parentNode.hidden = broken === 0;
  const areas = AREAS.map(([, , text], k) => [k, text, data.samples.filter((sample) => within(sample, k)).length]);
  fill("area", [["", "any"], ...areas.filter(([, , n]) => n).map(([k, text, n]) => [k, `${text} (${n})`])]);
  $("area").parentNode.hidden = $("area").options.length < 3;
  for (const [id, of] of Object.entries(groups)) {
    const counts = tally(of), known = [...counts.keys()].sort();
    fill(id, [["", "any"], ...known.map((name) => ["=" + name, `${name || "unknown"} (${counts.get(name)})`])]);
    $(id).parentNode.hidden = known.length < 2;
  }
  for (const side of ["left", "right"]) fill(side, names.map((name, k) => [k, name]).filter(([k]) => k !== TRUTH || truths));
  $("controlling").hidden = !data.controls.some(Boolean);
  $("keyed").append(...KEYS.map(([keys, text]) => {
    const line = make("tr"), first = make("td");
    first.append(...keys.split(" ").map((key) => (key === "…" ? " … " : make("kbd", key))));
    line.append(first, make("td", text));
    return line;
  }));
}

const truths = data.samples.some((sample) => has(sample, TRUTH));
if (!truths) state.b = INPUT;
document.body.classList.add("outlined");
document.title = `${data.dataset}: ${data.methods.join(", ")}`;
$("name").textContent = data.dataset;
$("about").textContent = [`protocol ${data.protocol}`, `data ${data.fingerprint}`,
  data.samples.length === data.total ? counted(data.total, "sample")
    : `${data.samples.length} of ${counted(data.total, "sample")}: failed samples first, the others evenly spread`,
  !pictured ? "no pictures" : data.lossless ? "pictures are lossless"
    : "pictures are compressed, scores are those of the originals"].join(", ");
$("warnings").append(...data.warnings.map((text) => make("p", `Warning: ${text}`, "warning")));
$("tables").append(...data.tables.map(table));
const main = $("tables").querySelector("details");
if (main) main.open = data.methods.length <= 4;
menus();
const rows = data.samples.map((sample, number) => new Row(sample, number));
const ofPictures = "#stage, .pair, #slider, .tools, .sizes, [data-toggle]";
for (const node of document.querySelectorAll(ofPictures)) node.hidden = !pictured;
paired(); arrange();

const stage = $("stage");
const drag = (event) => {
  const box = stage.getBoundingClientRect();
  cut(100 * (event.clientX - box.left) / box.width);
};
stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) drag(event); });
$("slider").oninput = () => cut(Number($("slider").value));
$("left").onchange = () => choose(Number($("left").value), false);
$("right").onchange = () => choose(Number($("right").value), true);
$("swap").onclick = swap;
$("previous").onclick = () => step(-1); $("next").onclick = () => step(1);
$("grow").onclick = () => open(true); $("shut").onclick = () => $("large").close();
$("ask").onclick = () => $("help").showModal();
$("zoom").onclick = zoom;
$("smaller").onclick = () => resize(-1); $("larger").onclick = () => resize(1);
$("more").onclick = () => panel($("more").getAttribute("aria-expanded") !== "true");
$("controls").onchange = () => document.body.classList.toggle("without", !$("controls").checked);
for (const node of document.querySelectorAll("[data-toggle]")) node.onclick = () => toggle(node.dataset.toggle);
for (const id of ["order", "method", "other"]) $(id).onchange = compareSorted;
$("column").onchange = resort;
for (const id of ["status", "area", "category", "background", "placement"]) $(id).onchange = arrange;
$("text").oninput = arrange;
addEventListener("hashchange", visit);
new ResizeObserver(() => {  // the height that the bar covers while it sticks to the top
  document.documentElement.style.setProperty("--bar", $("bar").offsetHeight + "px");
}).observe($("bar"));
visit();
