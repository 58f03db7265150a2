// No value. Server function: failures_cloud({parameters, method, column}) -> {gallery, methods, method, ids, points: {version: [[x, y]]},
// explained, colours: {column, kind, values, low, high | names}, columns: [[name, title]], selected: [0 | 1]} | {error}.
// Hears "failures-shown" {page, parameters} from the table, says "failures-lasso" {lasso} to it. Triggers nothing.
const { h, worded, hear, say, colour, gradient } = studio;
const VERSIONS = [["baseline", "Baseline"], ["ssa-me", "SSA-ME"]];
const HUES = ["#4c78a8", "#e07b28", "#54a24b", "#b279a2", "#d6b11e", "#e45756", "#72b7b2", "#9d755d", "#ff9da6", "#7a7f87"];
const GAIN = ["#b2452a", "#e2a184", "#c9cac6", "#7fb8a0", "#17713a"]; // worse, none, better
const UNKNOWN = "rgb(134 139 148 / 35%)";
let cloud = null, parameters = null, asked = 0;
let look = { method: "pca", column: "gain" };
let canvases = {}, tip = null, lasso = null, hovered = null, drawing = false, held = false;

function mix(stops, t) {
  const at = Math.max(0, Math.min(1, t)) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
  const part = (hex, from) => parseInt(hex.slice(from, from + 2), 16);
  return `rgb(${[1, 3, 5].map((from) => Math.round(part(stops[low], from) + (part(stops[low + 1], from) - part(stops[low], from)) * (at - low))).join(" ")})`;
}

// Ranks gained are spread by their logarithm around none; other numbers evenly.
const warped = (value) => Math.sign(value) * Math.log1p(Math.abs(value));
function paintOf({ column, kind, low, high }, value) {
  if (value === null) return UNKNOWN;
  if (kind === "category") return HUES[value % HUES.length];
  if (column === "gain") return mix(GAIN, 0.5 + warped(value) / (2 * Math.max(1, warped(Math.max(Math.abs(low), Math.abs(high))))));
  const ranks = column.startsWith("rank");
  const t = ranks ? Math.log(value / low) / (Math.log(high / low) || 1) : (value - low) / (high - low || 1);
  return `rgb(${colour("share", 0.2 + 0.65 * t).join(" ")})`;
}
const said = ({ kind, names }, value) => (value === null ? "no query" : kind === "category" ? names[value] : String(value));

async function load() {
  if (!parameters?.fr) return;
  const mine = ++asked;
  const answer = await server.failures_cloud({ parameters, ...look }).catch(() => ({ error: "The map could not be loaded. Reload the page." }));
  if (mine !== asked) return;
  if (answer.error) { cloud = null; element.replaceChildren(h("p.trouble", { role: "alert" }, answer.error)); return; }
  cloud = answer;
  render();
}

function legend({ column, kind, low, high, names }) {
  if (kind === "category") return h("span.legend", {}, names.slice(0, 10).map((name, code) => h("span", {}, h("i.swatch", { style: { background: HUES[code % HUES.length] } }), name)));
  const bar = column === "gain" ? `linear-gradient(to right, ${GAIN.join(", ")})` : gradient("share");
  const far = Math.max(1, Math.abs(low), Math.abs(high));
  const ends = column === "gain" ? [`−${far}`, `+${far}`] : [low, high];
  return h("span.legend", { title: "The mean over the queries that an image is right for; grey where there is none" }, h("span.number", {}, ends[0]), h("i.scale", { style: { background: bar } }), h("span.number", {}, ends[1]));
}

function panel([version, usual]) {
  const title = worded(usual, cloud);
  const canvas = h("canvas", { role: "img", "aria-label": `Map of the gallery under ${title}, ${cloud.ids.length} images` });
  canvases[version] = canvas;
  const share = cloud.explained[version];
  canvas.addEventListener("pointermove", (event) => (drawing ? extend(event) : hover(version, event)));
  canvas.addEventListener("pointerleave", () => { if (!drawing) leave(); });
  canvas.addEventListener("pointerdown", (event) => begin(version, event));
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", () => { drawing = false; lasso = null; draw(); });
  return h(`figure.${version}`, {}, h("figcaption", {}, h("i.mark", { "aria-hidden": "true" }), title, share === null ? null : h("span.quiet", { title: "The share of the variance that the two axes keep" }, `${Math.round(100 * share)} % of variance`)), canvas);
}

function render() {
  canvases = {};
  const pick = (label, options, value, change) => h("select", { "aria-label": label, onchange: (event) => change(event.target.value) }, options.map(([id, title]) => h("option", { value: id, selected: id === value }, title)));
  const free = h("button.free", { type: "button", "aria-pressed": String(held), title: "Draw around images with a finger; with a mouse just drag", onclick: () => { held = !held; free.setAttribute("aria-pressed", String(held)); for (const canvas of Object.values(canvases)) canvas.classList.toggle("held", held); } }, "Lasso");
  tip = h("div.tip", { hidden: true });
  element.replaceChildren(h("section", { "aria-label": "Map of the gallery" },
    h("header", {}, h("h2", {}, "Map of the gallery"), h("label", {}, "colour", pick("Colour of the map", cloud.columns, look.column, (column) => { look.column = column; load(); })),
      cloud.methods.length > 1 ? pick("Projection", cloud.methods.map((name) => [name, name.toUpperCase()]), look.method, (method) => { look.method = method; load(); }) : null, free),
    h("div.maps", {}, VERSIONS.map(panel)), legend(cloud.colours), tip));
  lasso = readLasso();
  draw();
}

function readLasso() {
  if (!parameters.fl) return null;
  const [version, method, numbers] = parameters.fl.split(":");
  const flat = numbers.split(",").map(Number);
  return method === cloud.method ? { version, corners: flat.filter((_, at) => at % 2 === 0).map((x, at) => [x, flat[2 * at + 1]]) } : null;
}

const place = (canvas, [x, y]) => [((x + 1.06) / 2.12) * canvas.clientWidth, ((1.06 - y) / 2.12) * canvas.clientHeight];
const back = (canvas, [px, py]) => [(px / canvas.clientWidth) * 2.12 - 1.06, 1.06 - (py / canvas.clientHeight) * 2.12];

function draw() {
  for (const [version, canvas] of Object.entries(canvases)) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, canvas.clientWidth * ratio);
    canvas.height = Math.max(1, canvas.clientHeight * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const radius = cloud.ids.length > 5000 ? 1.4 : cloud.ids.length > 1200 ? 2 : 3;
    for (const wanted of [0, 1]) {
      cloud.points[version].forEach((point, at) => {
        if (cloud.selected[at] !== wanted) return;
        const [x, y] = place(canvas, point);
        context.globalAlpha = wanted ? 0.95 : 0.22;
        context.fillStyle = paintOf(cloud.colours, cloud.colours.values[at]);
        context.beginPath();
        context.arc(x, y, wanted ? radius : radius * 0.8, 0, 7);
        context.fill();
      });
    }
    context.globalAlpha = 1;
    const ink = getComputedStyle(element).getPropertyValue("--ink") || "#000";
    if (lasso?.version === version && lasso.corners.length > 1) {
      context.beginPath();
      lasso.corners.forEach((corner, at) => context[at ? "lineTo" : "moveTo"](...place(canvas, corner)));
      if (!drawing) context.closePath();
      context.setLineDash([5, 4]);
      context.strokeStyle = ink;
      context.lineWidth = 1.5;
      context.stroke();
      context.setLineDash([]);
    }
    if (hovered !== null) {
      context.beginPath();
      context.arc(...place(canvas, cloud.points[version][hovered]), radius + 3.5, 0, 7);
      context.strokeStyle = ink;
      context.lineWidth = 2;
      context.stroke();
    }
  }
}

function at(event) {
  const box = event.currentTarget.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function hover(version, event) {
  const canvas = canvases[version], [px, py] = at(event);
  let best = null, near = 144;
  cloud.points[version].forEach((point, index) => {
    const [x, y] = place(canvas, point), far = (x - px) ** 2 + (y - py) ** 2;
    if (far < near) [best, near] = [index, far];
  });
  if (best === hovered) return;
  hovered = best;
  tip.hidden = best === null;
  if (best !== null) {
    const id = cloud.ids[best], title = cloud.columns.find(([name]) => name === cloud.colours.column)?.[1] || cloud.colours.column;
    tip.replaceChildren(h("img", { src: `studio/thumb/${cloud.gallery}/${id}`, alt: "" }), h("span", {}, h("b", {}, `image ${id}`), `${title}: ${said(cloud.colours, cloud.colours.values[best])}`));
    const box = element.firstElementChild.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - 190)}px`;
    tip.style.top = `${event.clientY - box.top + 14}px`;
  }
  draw();
}

function leave() {
  hovered = null;
  if (tip) tip.hidden = true;
  draw();
}

function begin(version, event) {
  if (event.button !== 0 || (event.pointerType === "touch" && !held)) return;
  event.preventDefault();
  event.currentTarget.setPointerCapture(event.pointerId);
  drawing = true;
  leave();
  lasso = { version, corners: [back(canvases[version], at(event))] };
}

function extend(event) {
  const corner = back(event.currentTarget, at(event)), last = lasso.corners[lasso.corners.length - 1];
  if (Math.hypot(corner[0] - last[0], corner[1] - last[1]) < 0.03) return;
  lasso.corners.push(corner);
  draw();
}

function finish() {
  if (!drawing) return;
  drawing = false;
  const step = Math.max(1, Math.ceil(lasso.corners.length / 40));
  const corners = lasso.corners.filter((_, index) => index % step === 0);
  if (corners.length < 3) { lasso = readLasso(); draw(); if (parameters.fl) say("failures-lasso", { lasso: "" }); return; }
  say("failures-lasso", { lasso: `${lasso.version}:${cloud.method}:${corners.flat().map((value) => value.toFixed(2)).join(",")}` });
}

hear(element, "failures-shown", (shown) => { parameters = shown.parameters; load(); });
new ResizeObserver(() => { if (cloud && element.isConnected) draw(); }).observe(element);
if (studio.failures?.parameters?.fr) { parameters = studio.failures.parameters; load(); }
