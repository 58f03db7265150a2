// value: {token, id, name, caption, image, size: [w, h], boxes, attention: {version: [n]}, on_image, similarity, layers, heads,
// layer, head: n | null, read: [n], equal, stages: [{name, title, hint, values, each: [[n]], seconds}], phrases, salience,
// seconds} or {token, empty: {title, text}} or {token, error}. Triggers "adjust" with the settings that change.
// Hears "light" {boxes: [[bbox, kind]]} and "phrase" (its number) from the table; says "point" {x, y} | null to it.
const { h, worded, paint, gradient, say, hear, percent, time } = studio;
const look = (window.studioLook ||= { opacity: 0.9, smooth: true, style: "heat", grid: false });
let painters = [];
let chosen = -1; // the phrase whose stages are shown; −1: all of them together

const STYLES = { heat: "Colour", grey: "Grey", outline: "Outline" };

// One picture with a map over it. `values` null: the picture alone.
function panel(value, title, note, values, options) {
  const canvas = values ? h("canvas", { "aria-hidden": "true" }) : null;
  const [width, height] = value.size;
  const marks = h("svg.marks", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const stack = h("div.stack", { style: { "--shape": `${width} / ${height}` }, onpointermove: (event) => point(event, stack, value), onpointerleave: () => say("point", null) },
    h("img", { src: value.image, alt: canvas ? "" : value.caption || value.name }), canvas, h("svg.cells", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }), marks);
  if (canvas) painters.push(() => paint(canvas, value, values(), { ...options, smooth: look.smooth, look: look.style }));
  return h(`figure${canvas ? ".mapped" : ""}`, {}, stack, h("figcaption", {}, h("strong", {}, title), note));
}

function point(event, stack, value) {
  const frame = stack.getBoundingClientRect();
  say("point", { x: ((event.clientX - frame.left) / frame.width) * value.size[0], y: ((event.clientY - frame.top) / frame.height) * value.size[1] });
}

function scaleBar(scale, low, high, what, hint) {
  return h("div.scale", { title: hint }, what ? h("span.what", {}, what) : null, h("span.number", {}, low), h("i", { "data-scale": scale, style: { background: gradient(scale, look.style) } }), h("span.number", {}, high));
}

function controls() {
  const opacity = h("input", { type: "range", min: 0, max: 1, step: 0.02, value: look.opacity, "aria-label": "Opacity of the maps",
    oninput: () => { look.opacity = Number(opacity.value); element.firstChild.style.setProperty("--opacity", look.opacity); } });
  const style = h("span.choice", { role: "group", "aria-label": "How maps are drawn" }, Object.entries(STYLES).map(([name, title]) =>
    h("button", { type: "button", "aria-pressed": String(look.style === name), onclick: () => { look.style = name; restyle(); } }, title)));
  const check = (name, on, title, hint, change) => {
    const box = h("input", { type: "checkbox", onchange: () => { change(box.checked); restyle(); } });
    box.checked = on;
    return h("label", { title: hint }, box, title);
  };
  return h("div.controls", {}, style, h("label", {}, "Opacity", opacity),
    check("smooth", look.smooth, "Smooth", "Values between the visual tokens are interpolated; without, one square a token, as the model sees it", (on) => { look.smooth = on; }),
    check("grid", look.grid, "Token grid", "Draw the borders of the visual tokens", (on) => { look.grid = on; }));
}

function restyle() {
  for (const button of element.querySelectorAll(".controls .choice button")) button.setAttribute("aria-pressed", String(button.textContent === STYLES[look.style]));
  for (const bar of element.querySelectorAll("[data-scale]")) bar.style.background = gradient(bar.dataset.scale, look.style);
  element.firstChild.classList.toggle("outlined", look.style === "outline");
  const value = props.value;
  for (const cells of element.querySelectorAll(".cells")) cells.replaceChildren(...(look.grid ? value.boxes.map(([x0, y0, x1, y1]) => h("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) : []));
  for (const painter of painters) painter();
}

function pickers(value) {
  const pick = (name, count, first, hint) => {
    const select = h("select", { "aria-label": name, title: hint, onchange: () => { element.firstChild.setAttribute("aria-busy", "true"); trigger("adjust", { [name.toLowerCase()]: select.value ? Number(select.value) : null }); } },
      h("option", { value: "" }, first), Array.from({ length: count }, (_, n) => h("option", { value: n + 1 }, String(n + 1))));
    select.value = value[name.toLowerCase()] ?? "";
    return h("label", {}, name, select);
  };
  const { read } = value;
  const whole = read.length > 2 && read.every((layer, at) => !at || layer === read[at - 1] + 1) ? `${read[0]}–${read.at(-1)}` : read.join(", ");
  return h("span.pickers", {}, pick("Layer", value.layers, `mean of ${whole}`, `Whose attention is shown: the mean over layers ${whole}, which the model is read by, or one of ${value.layers}`),
    pick("Head", value.heads, "mean of all", `The mean over all ${value.heads} heads, or one of them`));
}

function attention(value) {
  const [first, second] = [value.attention.baseline, value.attention["ssa-me"]];
  const high = Math.max(...first, ...second) || 1;
  const difference = second.map((share, index) => share - first[index]);
  // At least a quarter of the shared scale, so that a trifle is not blown up into a difference.
  const far = Math.max(...difference.map(Math.abs), high / 4);
  const facts = (version) => h("span.number", { title: "The share of the last token's attention that falls on the image; the rest falls on the prompt" }, `${percent(value.on_image[version])} on the image`);
  const similar = (version) => (value.similarity[version] === undefined ? null : h("span.number", { title: "cos(q, e): cosine of the text's and the image's embedding, as the index holds it" }, `cos ${value.similarity[version].toFixed(3)}`));
  return h("section.attention", { "aria-label": "Attention" }, h("h3", {}, h("span", {}, "Attention"), pickers(value), controls()),
    h("div.row.four", {},
      panel(value, "Image", h("span.number", {}, `${value.size[0]} × ${value.size[1]} px`), null),
      panel(value, worded("Baseline", value), [similar("baseline"), facts("baseline")], () => first, { low: 0, high, scale: "share" }),
      panel(value, worded("SSA-ME", value), [similar("ssa-me"), facts("ssa-me")], () => second, { low: 0, high, scale: "share" }),
      panel(value, "Difference", h("span", {}, value.equal ? "none: both are equal" : worded("SSA-ME − baseline", value)), () => difference, { low: -far, high: far, scale: "difference" })),
    h("div.legend", {},
      scaleBar("share", "0", percent(high), "Attention per token", "Both models on one scale: the last token's attention on one image token. Not stretched."),
      scaleBar("difference", worded(`Baseline +${percent(far)}`, value), worded(`SSA-ME +${percent(far)}`, value), "Difference", worded("SSA-ME's attention minus the baseline's, token by token", value))));
}

// "head | full": what conditions the salience. While the other one is computed, the choice is made and the maps wait.
function conditioning(value) {
  const hints = { head: "The light head, distilled from the other three stages", full: "The whole pipeline: the language model lists the subjects; expert and relevance are fused" };
  const group = h("span.choice", { role: "group", "aria-label": "Salience" }, Object.keys(hints).map((mode) =>
    h("button", { type: "button", title: hints[mode], "aria-pressed": String(mode === value.salience), onclick: (event) => {
      if (mode === value.salience) return;
      for (const button of group.children) button.setAttribute("aria-pressed", String(button === event.currentTarget));
      group.setAttribute("aria-busy", "true");
      trigger("adjust", { salience: mode });
    } }, mode)));
  return group;
}

const rowOf = (stage) => (chosen >= 0 && stage.each[chosen] ? stage.each[chosen] : stage.values);

function stages(value) {
  const high = (stage) => (stage.name === "gain" ? Math.max(1, ...stage.values) : 1);
  const panels = value.stages.map((stage) => {
    const figure = panel(value, stage.title, stage.seconds ? h("span.number", {}, time(stage.seconds)) : null, () => rowOf(stage), { low: 0, high: high(stage), scale: "share" });
    figure.title = stage.hint;
    if (stage.name === (value.salience === "full" ? "fused" : "head")) figure.classList.add("used");
    return figure;
  });
  const chips = value.phrases.length < 1 ? null : h("span.chips", { role: "group", "aria-label": "Subject whose salience is shown" }, ["All subjects", ...value.phrases].map((phrase, at) =>
    h("button", { type: "button", "aria-pressed": String(at - 1 === chosen), onclick: () => choose(at - 1) }, phrase)));
  return h("section.stages", { "aria-label": "Salience, stage by stage" },
    h("h3", {}, h("span", {}, "Salience, stage by stage"), conditioning(value), chips, scaleBar("share", "0", "1", "", "Salience is never stretched to its maximum: an absent subject stays dark")),
    h("div.row.five", {}, panels));
}

function choose(index) {
  chosen = index;
  element.querySelectorAll(".chips button").forEach((button, at) => button.setAttribute("aria-pressed", String(at - 1 === chosen)));
  for (const painter of painters) painter();
}

function light(boxes) {
  const draw = ([x, y, width, height], kind) => ["halo", kind].map((name) => h(`rect.${name}`, { x, y, width, height, rx: 1 }));
  for (const marks of element.querySelectorAll(".marks")) marks.replaceChildren(...boxes.flatMap(([bbox, kind]) => (bbox ? draw(bbox, kind) : [])));
}

function render() {
  const value = props.value;
  painters = [];
  if (!value) return element.replaceChildren();
  if (value.empty) return element.replaceChildren(h("div.empty", {}, h("h2", {}, value.empty.title), h("p", {}, value.empty.text)));
  if (value.error) return element.replaceChildren(h("p.trouble", { role: "alert" }, value.error));
  if (chosen >= value.phrases.length) chosen = -1;
  const focus = document.activeElement?.getAttribute?.("aria-label");
  const inside = element.contains(document.activeElement);
  element.replaceChildren(h("div.maps", { style: { "--opacity": look.opacity } }, attention(value), stages(value)));
  if (inside && focus) element.querySelector(`[aria-label="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  restyle();
}

hear(element, "light", ({ boxes }) => light(boxes));
hear(element, "phrase", choose);
watch("value", render);
render();
