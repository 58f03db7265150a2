// value: {token, id, image, size: [w, h], name, regions: [[x, y, w, h]], found: the same before anything was drawn, drawn,
// places: [{name, version, title, before: {rank, score}, after, count}], note} or null. Triggers "adjust" {regions | null}.
// Draw on the picture for a new region; drag one to move it, its corner to resize it; Delete removes it, arrows nudge it.
const { h } = studio;
const MOST = 6;
let regions = []; // as they are on the picture now
let held = -1; // the region that is selected
let picture = null; // the svg that holds them

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function send() {
  element.firstChild?.setAttribute("aria-busy", "true");
  trigger("adjust", { regions: same(regions, props.value.found) ? null : regions.map((box) => box.map((number) => Math.round(number * 10) / 10)) });
}

function within([x, y, width, height]) {
  const [w, h_] = props.value.size;
  const wide = Math.min(Math.max(width, 1), w), high = Math.min(Math.max(height, 1), h_);
  return [Math.min(Math.max(0, x), w - wide), Math.min(Math.max(0, y), h_ - high), wide, high];
}

// The place of a pointer in pixels of the image.
function at(event) {
  const frame = picture.getBoundingClientRect();
  return [((event.clientX - frame.left) / frame.width) * props.value.size[0], ((event.clientY - frame.top) / frame.height) * props.value.size[1]];
}

// Follow the pointer until it is let go: `follow` is told how far it went, `end` that it is over.
function drag(event, follow, end) {
  const [x, y] = at(event);
  const id = event.pointerId;
  event.preventDefault();
  picture.setPointerCapture(id);
  const move = (next) => { const [nx, ny] = at(next); follow(nx - x, ny - y); draw(); };
  const up = () => { picture.removeEventListener("pointermove", move); picture.removeEventListener("pointerup", up); picture.removeEventListener("pointercancel", up); end(); };
  picture.addEventListener("pointermove", move);
  picture.addEventListener("pointerup", up);
  picture.addEventListener("pointercancel", up);
}

function press(event) {
  const node = event.target.closest("[data-at]");
  if (!node) return begin(event);
  held = Number(node.dataset.at);
  const [x, y, width, height] = regions[held];
  const corner = event.target.dataset.corner;
  const before = JSON.stringify(regions);
  drag(event, (dx, dy) => {
    if (!corner) { regions[held] = within([x + dx, y + dy, width, height]); return; }
    const [left, top] = [corner.includes("w"), corner.includes("n")];
    const [x0, x1] = [left ? x + dx : x, left ? x + width : x + width + dx].sort((a, b) => a - b);
    const [y0, y1] = [top ? y + dy : y, top ? y + height : y + height + dy].sort((a, b) => a - b);
    regions[held] = within([x0, y0, x1 - x0, y1 - y0]);
  }, () => { if (JSON.stringify(regions) !== before) send(); draw(); picture.querySelector(`[data-at="${held}"]`)?.focus({ preventScroll: true }); });
  draw();
}

function begin(event) {
  if (regions.length >= MOST) return;
  const [x, y] = at(event);
  held = regions.length;
  let box = null;
  drag(event, (dx, dy) => {
    box = within([Math.min(x, x + dx), Math.min(y, y + dy), Math.abs(dx), Math.abs(dy)]);
    regions[held] = box;
  }, () => {
    const least = Math.max(...props.value.size) / 40;
    if (!box || box[2] < least || box[3] < least) { regions = regions.slice(0, held); held = -1; draw(); return; }
    draw();
    send();
  });
}

function keys(event) {
  const number = Number(event.target.dataset?.at ?? -1);
  if (number < 0) return;
  const step = Math.max(...props.value.size) / (event.shiftKey ? 12 : 48);
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); remove(number); }
  if (!(event.key in moves)) return;
  event.preventDefault();
  const [x, y, width, height] = regions[number];
  regions[number] = within([x + moves[event.key][0], y + moves[event.key][1], width, height]);
  held = number;
  draw();
  picture.querySelector(`[data-at="${number}"]`)?.focus({ preventScroll: true });
  clearTimeout(keys.later);
  keys.later = setTimeout(send, 350);
}

function remove(number) {
  regions = regions.filter((_, index) => index !== number);
  held = -1;
  draw();
  send();
}

function draw() {
  const size = Math.max(...props.value.size) / 40;
  const boxes = regions.map((box, index) => {
    const [x, y, width, height] = box;
    const corners = index !== held ? [] : [["nw", x, y], ["ne", x + width, y], ["sw", x, y + height], ["se", x + width, y + height]].map(([name, cx, cy]) =>
      h(`rect.corner.${name}`, { "data-at": index, "data-corner": name, x: cx - size / 2, y: cy - size / 2, width: size, height: size }));
    return h("g", { class: index === held ? "held" : "" }, h("rect.halo", { x, y, width, height }),
      h("rect.box", { "data-at": index, tabindex: 0, role: "button", "aria-label": `Region ${index + 1}: drag or arrows move it, Delete removes it`, x, y, width, height }), corners);
  });
  picture.replaceChildren(...boxes);
  element.querySelector(".remove")?.toggleAttribute("disabled", held < 0);
}

function place({ version, title, before, after, count }) {
  const moved = before.rank - after.rank;
  const of = `Rank of this image among ${count.toLocaleString("en")} of the gallery`;
  if (!props.value.drawn) return h(`tr.${version}`, {}, h("th", { scope: "row" }, h("i.dot", { "aria-hidden": "true" }), title), h("td.rank", { title: of }, h("strong", {}, `#${before.rank}`), h("span.quiet", {}, ` of ${count.toLocaleString("en")}`)), h("td"), h("td.number", { title: before.score.toFixed(4) }, before.score.toFixed(3)));
  const sign = moved === 0 ? h("span.same", {}, "same rank") : h(`span.${moved > 0 ? "up" : "down"}`, {}, `${moved > 0 ? "▲" : "▼"} ${Math.abs(moved)}`);
  return h(`tr.${version}`, {}, h("th", { scope: "row" }, h("i.dot", { "aria-hidden": "true" }), title),
    h("td.rank", { title: of }, h("span", {}, `#${before.rank}`), " → ", h("strong", {}, `#${after.rank}`)), h("td", {}, sign),
    h("td.number", { title: `The score by which the ranking sorts: ${before.score.toFixed(4)} → ${after.score.toFixed(4)}` }, `${before.score.toFixed(3)} → ${after.score.toFixed(3)}`));
}

function results(value) {
  if (!value.places.length) return h("p.quiet", {}, "Enter a query to see where the image ranks, and how the rank changes with the regions.");
  return [h("table", {}, h("caption", {}, value.drawn ? "With the regions as drawn" : "As the gallery holds it"), h("thead", {}, h("tr", {}, ["Ranking", "Rank", "", "Score"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, value.places.map(place))),
    h("p.quiet", {}, "With other regions the image is embedded again, with these as its salience. Nothing is written to the gallery.", value.regional ? "" : " The baseline's one vector reads no regions, so its rank stays.", value.note ? ` ${value.note}` : "")];
}

function render() {
  const value = props.value;
  if (!value || !value.size) return element.replaceChildren();
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset?.at : undefined;
  regions = value.regions.map((box) => [...box]);
  if (held >= regions.length) held = -1;
  const [width, height] = value.size;
  picture = h("svg.boxes", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "group", "aria-label": "Subject regions", onpointerdown: press, onkeydown: keys });
  const button = (title, hint, work, name = "") => h(`button${name}`, { type: "button", title: hint, onclick: work }, title);
  element.replaceChildren(h("section", { "aria-label": "Regions and rank" },
    h("h3", {}, h("span", {}, "What if the subject were here?"), h("span.quiet", {}, "Draw, drag or resize a region")),
    h("div.both", {}, h("div.stack", { style: { "--shape": `${width} / ${height}` } }, h("img", { src: value.image, alt: value.name, draggable: "false" }), picture),
      h("div.side", {}, h("div", { "aria-live": "polite" }, results(value)), h("div.buttons", {},
        button("Remove region", "Remove the selected region (Delete)", () => held >= 0 && remove(held), ".remove"),
        button("Clear", "No region at all: nothing is salient", () => { regions = []; held = -1; draw(); send(); }),
        button("As found", "Back to the regions of the index", () => { regions = value.found.map((box) => [...box]); held = -1; draw(); send(); }))))));
  draw();
  if (focused !== undefined) picture.querySelector(`[data-at="${focused}"]`)?.focus({ preventScroll: true });
}

watch("value", render);
render();
