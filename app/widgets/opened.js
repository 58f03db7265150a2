// value: {token, id, name, captions, image, size: [w, h], boxes: [[x0, y0, x1, y1]], attention: {version: [n]}, on_image,
// similarity, stages: [{name, title, hint, values}], regions, subjects: [{phrase, score, scores, region, rival, rival_score,
// misaligned, label, agrees, attention, salience}], seconds, salience, source, described} or {token, id, error}. Hears "open" and "closed" from the lists, which are on
// the page before the maps are; says "step", "close" and "salience" back. Triggers "inspect" {id, state}, "annotate" {id, gallery} (where
// the class "annotates" says so) and "like" {id, region: [x, y, w, h], state}.
const { h, worded, icon, paint, gradient, say, hear, percent, time, copyAddress } = studio;
const annotates = element.closest(".annotates") !== null;
const look = { opacity: 0.9, smooth: true };
let shown = window.studioOpened || null; // {id, places: [{version, title, hit}], state}: what the lists have opened
let arriving = false; // the image was just opened: bring it into view once its maps are here
let chosen = 0; // the subject whose regions are drawn
let painters = [];

const VERSIONS = ["baseline", "ssa-me"];

function place({ version, title, hit }) {
  return h(`span.place.${version}`, { title: hit ? `Score ${hit.score.toFixed(4)} under this ranking` : "Not among the results shown" },
    h("i.dot", { "aria-hidden": "true" }), title, hit ? [h("strong", {}, ` #${hit.rank}`), h("span.number", {}, ` ${hit.score.toFixed(3)}`)] : h("span.number", {}, " not listed"));
}

function head() {
  const hit = shown.places.find((place) => place.hit)?.hit || {};
  const value = current();
  const copy = h("button.tool.wide", { type: "button", title: "Copy a link to this opened image", onclick: () => copyAddress(copy) }, icon("link", 14), h("span", {}, "Copy link"));
  return h("header", {},
    h("div.title", {}, h("h2", {}, hit.caption || value?.captions?.[0] || hit.name || value?.name || `Image ${shown.id}`),
      h("p", {}, shown.places.map(place), h("span.file", {}, hit.name || value?.name || ""))),
    h("div.tools", {}, h("button.tool.wide", { type: "button", title: "Look closely in the Inspect tab", onclick: () => trigger("inspect", { id: shown.id, state: shown.state }) }, icon("loupe", 15), h("span", {}, "Inspect")),
      annotates ? h("button.tool.wide", { type: "button", title: "Judge or draw its subjects in the Annotate tab", onclick: () => trigger("annotate", { id: shown.id, gallery: shown.state.gallery }) }, icon("pen", 15), h("span", {}, "Annotate")) : null, copy,
      h("button.tool", { type: "button", title: "Previous result (←)", "aria-label": "Previous result", onclick: () => say("step", -1) }, icon("previous", 18)),
      h("button.tool", { type: "button", title: "Next result (→)", "aria-label": "Next result", onclick: () => say("step", 1) }, icon("next", 18)),
      h("button.tool", { type: "button", title: "Close (Esc)", "aria-label": "Close the opened image", onclick: () => say("close") }, icon("close", 18))));
}

// The value, as long as it is that of the image that is open now.
function current() {
  const value = props.value;
  return value && shown && value.id === shown.id ? value : null;
}

// One picture with a map over it. `values` null: the picture alone.
function panel(value, title, note, values, options) {
  const canvas = values ? h("canvas", { "aria-hidden": "true" }) : null;
  if (canvas) painters.push(() => paint(canvas, value, values(), { ...options, smooth: look.smooth }));
  const [width, height] = value.size;
  const marks = h("svg.marks", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  return h(`figure${canvas ? ".mapped" : ""}`, {},
    h("div.stack", { style: { "--shape": `${width} / ${height}` } }, h("img", { src: value.image, alt: canvas ? "" : value.captions[0] || value.name }), canvas, marks),
    h("figcaption", {}, h("strong", {}, title), note));
}

const like = (region) => trigger("like", { id: shown.id, region: region.map((number) => Math.round(number * 10) / 10), state: shown.state });

// The picture, on which a box can be drawn: more like what is in it is searched for. The table below offers it by keyboard.
function picture(value) {
  const figure = panel(value, "Image", h("span.number", {}, `${value.size[0]} × ${value.size[1]} px`), null);
  const stack = figure.querySelector(".stack"), marks = figure.querySelector(".marks");
  const button = h("button.part", { type: "button", "aria-pressed": "false", title: "Draw a box on the image: more images with such a subject are searched for", onclick: () => arm(button.getAttribute("aria-pressed") === "false") }, "More like a part");
  let from = null, box = null;
  function arm(on) {
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? "Draw a box …" : "More like a part";
    stack.classList.toggle("drawing", on);
  }
  const at = (event) => {
    const frame = stack.getBoundingClientRect();
    return [[event.clientX - frame.left, frame.width], [event.clientY - frame.top, frame.height]].map(([pixels, whole], axis) => Math.max(0, Math.min(1, pixels / whole)) * value.size[axis]);
  };
  stack.addEventListener("pointerdown", (event) => {
    if (!stack.classList.contains("drawing")) return;
    event.preventDefault();
    stack.setPointerCapture(event.pointerId);
    from = at(event);
    box = h("rect.drawn", { rx: 1 });
    marks.replaceChildren(box);
  });
  stack.addEventListener("pointermove", (event) => from && size(at(event)));
  const size = (to) => {
    const region = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    ["x", "y", "width", "height"].forEach((name, index) => box.setAttribute(name, region[index]));
    return region;
  };
  stack.addEventListener("pointerup", (event) => {
    if (!from) return;
    const region = size(at(event));
    from = null;
    arm(false);
    if (region[2] >= 4 && region[3] >= 4) like(region);
    else choose(chosen);
  });
  stack.addEventListener("pointercancel", () => { from = null; arm(false); choose(chosen); });
  figure.querySelector("figcaption").append(button);
  return figure;
}

function scaleBar(scale, low, high, what, hint) {
  return h("div.scale", { title: hint }, h("span.what", {}, what), h("span.number", {}, low), h("i", { style: { background: gradient(scale) } }), h("span.number", {}, high));
}

const short = (number) => (number === 0 ? "0" : Math.abs(number) < 0.001 ? number.toExponential(1) : number.toPrecision(2));

function controls() {
  const opacity = h("input", { type: "range", min: 0, max: 1, step: 0.02, value: look.opacity, "aria-label": "Opacity of the maps",
    oninput: () => { look.opacity = Number(opacity.value); element.firstChild.style.setProperty("--opacity", look.opacity); } });
  const grid = h("input", { type: "checkbox", onchange: () => { look.smooth = !grid.checked; repaint(); } });
  grid.checked = !look.smooth;
  return h("div.controls", {}, h("label", {}, "Opacity", opacity), h("label", { title: "One square a visual token, as the model sees it, instead of values interpolated between them" }, grid, "True grid"));
}

function attention(value) {
  const [first, second] = [value.attention.baseline, value.attention["ssa-me"]];
  const high = Math.max(...first, ...second) || 1;
  const difference = second.map((share, index) => share - first[index]);
  // At least a quarter of the shared scale, so that a trifle is not blown up into a difference.
  const far = Math.max(...difference.map(Math.abs), high / 4);
  const onImage = (version) => h("span.number", { title: "The share of the last token's attention that falls on the image; the rest falls on the prompt" }, `${percent(value.on_image[version])} on the image`);
  return h("div.attention", {},
    h("div.row.four", {},
      picture(value),
      panel(value, worded("Baseline attention", value), onImage("baseline"), () => first, { low: 0, high, scale: "share" }),
      panel(value, worded("SSA-ME attention", value), onImage("ssa-me"), () => second, { low: 0, high, scale: "share" }),
      panel(value, "Difference", h("span", {}, worded("SSA-ME − baseline", value)), () => difference, { low: -far, high: far, scale: "difference" })),
    h("div.legend", {},
      scaleBar("share", "0", percent(high), "Attention per token", "Both models on one scale: the last token's attention on one image token, mean over heads and the chosen layers. Not stretched."),
      scaleBar("difference", worded(`Baseline +${percent(far)}`, value), worded(`SSA-ME +${percent(far)}`, value), "Difference", worded("SSA-ME's attention minus the baseline's, token by token", value)),
      controls()));
}

// "head | full": what conditions the salience. While the other one is computed, the choice is made and the maps wait.
function choice(value) {
  const wanted = shown.state.salience || "head";
  const hints = { head: "The light head, distilled from the other three stages", full: "The whole pipeline: the language model lists the subjects; expert and relevance are fused" };
  return h("span.choice", { role: "group", "aria-label": "Salience", "aria-busy": String(wanted !== value.salience) }, Object.keys(hints).map((mode) =>
    h("button", { type: "button", title: hints[mode], "aria-pressed": String(mode === wanted), onclick: () => mode !== wanted && say("salience", mode) }, mode)));
}

const took = (seconds) => (seconds === null || seconds === undefined ? null : h("span.number", {}, time(seconds)));

function stages(value) {
  const unit = (stage) => stage.name === "gain" && Math.max(...stage.values) > 1 ? [0, Math.max(...stage.values)] : [0, 1];
  const panels = value.stages.map((stage) => {
    const [low, high] = unit(stage);
    const figure = panel(value, stage.title, high > 1 ? h("span.number", {}, `0 … ${short(high)}`) : took(stage.seconds), () => stage.values, { low, high, scale: "share" });
    figure.title = stage.hint;
    if (stage.name === (value.salience === "full" ? "fused" : "head")) figure.classList.add("used");
    return figure;
  });
  if (value.subjects.length) {
    const figure = panel(value, "One subject", h("span.which", {}), () => value.subjects[chosen].salience, { low: 0, high: 1, scale: "share" });
    figure.title = `${value.salience === "full" ? "The fused" : "The head's"} map for the subject that is chosen in the table`;
    panels.push(figure);
  }
  if (!panels.length) return null;
  return h("section.stages", {}, h("h3", {}, h("span", {}, "Salience, stage by stage"), choice(value), scaleBar("share", "0", "1", "", "Salience is never stretched to its maximum: an absent subject stays dark")), h("div.row.many", {}, panels));
}

function verdict(subject) {
  if (!subject.region) return h("span.bad", { title: "The map for this phrase stays dark: nothing in the image stands out for it" }, "✘ No region found for it");
  if (subject.agrees === false) return h("span.bad", { title: `The region that fits "${subject.phrase}" best is another subject` }, `⚠ Misaligned: the region is annotated as ${subject.label}`);
  if (subject.misaligned) return h("span.bad", {}, `⚠ Misaligned: another region fits better (${subject.rival_score.toFixed(2)} > ${subject.score.toFixed(2)})`);
  const rival = subject.rival_score === null ? "no other region to compare with" : `best rival ${subject.rival_score.toFixed(2)}`;
  if (subject.agrees) return h("span.good", {}, `✔ Aligned: annotated as ${subject.label}`, h("span.quiet", {}, ` (${rival})`));
  if (subject.rival_score === null) return h("span.quiet", {}, `Found; ${rival}`);
  return h("span.good", {}, "✔ Aligned", h("span.quiet", {}, ` (${rival})`));
}

function bar(version, share) {
  return h(`span.bar.${version}`, { title: `${worded(version === "baseline" ? "Baseline" : "SSA-ME", current())}: ${percent(share)} of its attention on the image lies inside the region` }, h("i", { style: { width: `${Math.min(100, share * 100)}%` } }), h("b", {}, percent(share)));
}

function subjectRow(subject, index) {
  const number = (version) => (!subject.region || subject.scores[version] === undefined ? "–" : subject.scores[version].toFixed(2));
  const row = h("tr", { tabindex: 0, onmouseenter: () => choose(index), onfocus: () => choose(index), onclick: () => choose(index) },
    h("th", { scope: "row" }, subject.phrase), h("td.number", {}, number("baseline")), h("td.number", {}, h("strong", {}, number("ssa-me"))),
    h("td.bars", {}, VERSIONS.map((version) => (!subject.region || subject.attention[version] === undefined ? null : bar(version, subject.attention[version])))), h("td.verdict", {}, verdict(subject)));
  return row;
}

// Who named the subjects, where it was the language model, and what it saw in an image without a text.
function listed(value) {
  if (value.salience !== "full") return null;
  const by = { lmm: "listed by the language model", rule: "split by rule: the language model listed none that fits", given: "" }[value.source];
  return h("p.listed", {}, value.described ? [h("q", {}, value.described), " "] : null, h("span.quiet", {}, by, " · ", took(value.seconds.subjects)));
}

function subjects(value) {
  if (!value.subjects.length) {
    return h("section.subjects", {}, h("h3", {}, "Subjects"), h("p.quiet", {}, "The query names no subject: search with a text to see how well each of its subjects is found here."));
  }
  return h("section.subjects", {}, h("h3", {}, value.described ? "Subjects of the image" : "Subjects of the query"), listed(value),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Phrase"),
      h("th.number", { scope: "col", title: worded("Alignment score of the baseline: cos(e(phrase), a) with a the region's vector", value) }, worded("Baseline", value)),
      h("th.number", { scope: "col", title: worded("Alignment score of SSA-ME: cos(e(phrase), a) with a the region's vector", value) }, worded("SSA-ME", value)),
      h("th", { scope: "col", title: "The part of each model's attention on the image that lies inside the region" }, "Attention inside"), h("th", { scope: "col" }, "Verdict"))),
    h("tbody", {}, value.subjects.map(subjectRow))),
    h("p.key", {}, h("i.region"), "the phrase's region", h("i.rival"), "best rival region",
      value.subjects.some((subject) => subject.region) ? h("button.part", { type: "button", title: "Search for images with a subject like the chosen phrase's region", onclick: () => value.subjects[chosen].region && like(value.subjects[chosen].region) }, "More like this region") : null));
}

// Draw the chosen subject's regions on every picture, and its own map.
function choose(index) {
  const value = current();
  chosen = index;
  const subject = value?.subjects?.[index];
  if (!subject) return;
  element.querySelectorAll("tbody tr").forEach((row, at) => row.classList.toggle("chosen", at === index));
  const box = (bbox, kind) => bbox && [`rect.halo`, `rect.${kind}`].map((name) => h(name, { x: bbox[0], y: bbox[1], width: bbox[2], height: bbox[3], rx: 1 }));
  for (const marks of element.querySelectorAll(".marks")) marks.replaceChildren(...[box(subject.rival, "rival"), box(subject.region, "region")].flat().filter(Boolean));
  const which = element.querySelector(".which");
  if (which) which.textContent = subject.phrase;
  painters.at(-1)?.();
}

function repaint() {
  for (const painter of painters) painter();
}

function bringIntoView() {
  if (arriving && window.innerWidth > 720) element.scrollIntoView({ behavior: "smooth", block: "start" });
}

function waiting() {
  const hit = shown.places.find((place) => place.hit)?.hit;
  const ghost = (title) => h("figure", {}, h("div.stack.ghost", { style: { "--shape": hit ? `${hit.width} / ${hit.height}` : "1" } }), h("figcaption", {}, h("strong", {}, title), h("span", {}, "…")));
  const first = hit ? h("figure", {}, h("div.stack", { style: { "--shape": `${hit.width} / ${hit.height}` } }, h("img", { src: hit.thumb, alt: hit.caption })), h("figcaption", {}, h("strong", {}, "Image"))) : ghost("Image");
  return h("div.attention", { "aria-busy": "true" }, h("div.row.four", {}, first, ghost("Baseline attention"), ghost("SSA-ME attention"), ghost("Difference")));
}

function body() {
  const value = current();
  if (!value) return waiting();
  if (value.error) return h("p.trouble", { role: "alert" }, value.error);
  return [attention(value), h("div.lower", {}, stages(value), subjects(value)), h("p.took", {}, Object.entries(value.seconds).map(([name, seconds]) => `${name} ${time(seconds)}`).join(" · "))];
}

function render() {
  if (!shown) return element.replaceChildren();
  const before = element.querySelector(".sheet")?.scrollTop || 0;
  painters = [];
  chosen = 0;
  const sheet = h("section.sheet", { "aria-label": "Opened image" }, head(), body());
  element.replaceChildren(h("div.opened", { style: { "--opacity": look.opacity } }, h("div.shade", { onclick: () => say("close") }), sheet));
  sheet.scrollTop = before;
  repaint();
  choose(0);
}

hear(element, "open", (detail) => {
  arriving = shown === null;
  shown = detail;
  // While walking, the maps of the last image stay until those of the next are here; the picture changes at once.
  render();
  bringIntoView();
});
hear(element, "closed", () => { shown = null; render(); });
watch("value", () => {
  if (!shown) return;
  render();
  if (current()) { bringIntoView(); arriving = false; }
});
render();
