// value: {token, image, entry: what is inspected, methods: [{name, title, summary, signed, regions, source}], baselines: {name: words},
// formulas: {name: words}, defaults, models: whose scores, titles} or null. Triggers "adjust" {attribution, target, baseline, steps, seed}. Server functions:
// begin({entry, kind: "map" | "sanity" | "balance"}), look({key}), stop({key}) -> {key, phase, message, fraction, result}.
const { h, worded, paint, gradient, percent, time } = studio;
const MODELS = { "ssa-me": "SSA-ME", baseline: "Baseline", difference: "Difference" };
const LEVELS = { high: ["✔", "good", "It can be trusted"], medium: ["~", "fair", "Read it with care"], low: ["⚠", "bad", "Do not rely on it"], undefined: ["?", "quiet", "It cannot be judged"] };
const NUMBERS = [["convergence", "Convergence"], ["deletion_auc", "Deletion AUC"], ["insertion_auc", "Insertion AUC"], ["random_auc", "Random order AUC"], ["infidelity", "Infidelity"], ["infidelity_ratio", "÷ of zeros"], ["pointing_game", "Pointing game"], ["energy_pointing_game", "Energy in the subject"]];
let wanted = {}; // the settings in the controls
let asked = ""; // what the panel was last asked for, so that the same is not begun twice
let states = { map: null, sanity: null, balance: null };

const signed = (number, digits = 3) => (number === null || number === undefined ? "–" : `${number < 0 ? "−" : ""}${Math.abs(number).toFixed(digits)}`);
const short = (number) => (number === null || number === undefined ? "–" : Math.abs(number) >= 0.001 || number === 0 ? signed(number) : number.toExponential(1).replace("-", "−"));
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function compute(kind) {
  const { entry, token } = props.value;
  states[kind] = { phase: "running", message: "Starting …", fraction: null };
  draw(kind);
  let state = await server.begin({ entry, kind });
  for (let wait = 150; ; wait = Math.min(800, wait * 1.4)) {
    if (props.value?.token !== token && keyOf(props.value) !== keyOf({ entry })) return;
    states[kind] = state;
    draw(kind);
    if (state.phase !== "running" || !element.isConnected) return;
    await pause(wait);
    state = await server.look({ key: state.key });
  }
}

// What a map depends on: with another of these it is another map.
function keyOf(value) {
  if (!value) return "";
  const { gallery, text, id, against, settings: s } = value.entry;
  const drawn = props.value?.methods.find(({ name }) => name === s.attribution)?.regions ? s.regions : null;
  return JSON.stringify([gallery, against, text, id, s.attribution, s.target, s.baseline, s.steps, s.seed, drawn]);
}

function progress(kind) {
  const { message, fraction, key } = states[kind];
  const bar = h("progress", fraction === null || fraction === undefined ? { "aria-label": "Progress" } : { max: 1, value: fraction, "aria-label": "Progress" });
  const cancel = h("button", { type: "button", disabled: !key, onclick: () => { cancel.disabled = true; server.stop({ key }); } }, "Cancel");
  return h("div.running", { role: "status" }, h("span", {}, message), bar, cancel);
}

// Progress, or what went wrong; null where there is a result to show.
function unfinished(kind) {
  const state = states[kind];
  if (state.phase === "running") return progress(kind);
  if (state.phase === "failed" || state.phase === "gone") return h("p.trouble", { role: "alert" }, state.message);
  if (state.phase === "cancelled") return h("p.quiet", {}, "Cancelled.");
  return null;
}

function select(label, name, choices, hint) {
  const node = h("select", { "aria-label": label, title: hint, onchange: () => { wanted[name] = node.value; restrict(); } }, choices.map(([value, title, more]) => h("option", { value, title: more }, title)));
  node.value = wanted[name];
  return h("label", {}, label, node);
}

function number(label, name, low, high, hint) {
  const node = h("input", { type: "number", min: low, max: high, step: 1, value: wanted[name], "aria-label": label, title: hint, onchange: () => { wanted[name] = Math.round(Math.min(high, Math.max(low, Number(node.value) || 0))); node.value = wanted[name]; } });
  return h("label", {}, label, node);
}

const method = () => props.value.methods.find(({ name }) => name === wanted.attribution) || props.value.methods[0];

// A map without a sign has no difference.
function restrict() {
  const { signed: signs, summary, source } = method();
  if (!signs && wanted.target === "difference") wanted.target = "ssa-me";
  element.querySelectorAll(".of button").forEach((button) => {
    const model = button.dataset.model;
    button.setAttribute("aria-pressed", String(model === wanted.target));
    button.disabled = model === "difference" && !signs;
    button.title = button.disabled ? "This method has no sign, so the difference of two of its maps would mean nothing" : model === "difference" ? "Why is this image nearer to the query for SSA-ME than for the baseline? SSA-ME's score minus the baseline's, under the same baseline and seed" : `What makes ${worded(MODELS[model], props.value)}'s score`;
  });
  element.querySelector(".summary").textContent = `${summary} (${source})`;
}

function controls(value) {
  const of = h("span.choice.of", { role: "group", "aria-label": "Whose score" }, value.models.map((model) => [model, worded(MODELS[model], value)]).map(([model, title]) => h("button", { type: "button", "data-model": model, onclick: () => { wanted.target = model; restrict(); } }, title)));
  const start = h("button.go", { type: "submit" }, "Attribute");
  return h("form.controls", { onsubmit: (event) => { event.preventDefault(); asked = ""; trigger("adjust", { ...wanted, seed: Number(wanted.seed), steps: Number(wanted.steps) }); } },
    select("Method", "attribution", value.methods.map(({ name, title, summary }) => [name, title, summary]), "How contributions are found"), of,
    select("Absent is", "baseline", Object.entries(value.baselines).map(([name, words]) => [name, name, words]), "What stands for an absent part of the image. Zeros are refused: such a model reads a patch's direction alone"),
    number("Steps", "steps", 2, 256, "Points of Integrated Gradients between baseline and image"), number("Seed", "seed", 0, 99999, "Of whatever the method draws"), start);
}

function words(result) {
  const most = Math.max(...result.words.map(({ value }) => Math.abs(value)), 1e-9);
  const parts = [];
  let at = 0;
  for (const { start, end, value } of result.words) {
    parts.push(result.query.slice(at, start), h(`mark.${value < 0 ? "against" : "for"}`, { style: { "--share": Math.abs(value) / most }, title: `Contribution ${signed(value, 4)}` }, result.query.slice(start, end), h("sub", {}, `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`)));
    at = end;
  }
  return h("div.words", { title: `An absent word is ${result.text_baseline}` }, parts, result.query.slice(at));
}

function picture(result) {
  const value = props.value;
  const high = Math.max(...result.values.map(Math.abs)) || 1;
  const canvas = h("canvas", { "aria-hidden": "true" });
  const look = window.studioLook || { smooth: true, opacity: 0.9 };
  const low = result.signed ? -high : 0;
  const scale = result.signed ? "difference" : "share";
  paint(canvas, result, result.values, { low, high, scale, smooth: look.smooth });
  const [width, height] = result.size;
  const marks = h("svg.marks", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const light = (bbox) => marks.replaceChildren(...(bbox ? ["halo", "region"].map((kind) => h(`rect.${kind}`, { x: bbox[0], y: bbox[1], width: bbox[2], height: bbox[3] })) : []));
  const parts = [...result.parts].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, 6);
  return h("div.map", {}, h("div.stack", { style: { "--shape": `${width} / ${height}` } }, h("img", { src: value.image, alt: "" }), canvas, marks),
    h("div.scale", { title: value.formulas.contribution }, h("span", {}, result.signed ? `lowers −${short(high)}` : "0"), h("i", { style: { background: gradient(scale) } }), h("span", {}, result.signed ? `raises +${short(high)}` : short(high))),
    parts.length ? h("ul.parts", {}, parts.map((part) => h("li", { tabindex: 0, onmouseenter: () => light(part.bbox), onfocus: () => light(part.bbox), onmouseleave: () => light(null), onblur: () => light(null) }, h("span", {}, part.name), h("b", {}, signed(part.value, 4))))) : null);
}

function curves({ curves: found, verdict }) {
  if (!found.deletion) return null;
  const all = Object.values(found).flatMap(({ scores }) => scores);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const line = ({ fractions, scores }) => fractions.map((f, at) => `${at ? "L" : "M"}${(4 + f * 192).toFixed(1)} ${(86 - ((scores[at] - low) / (high - low || 1)) * 80).toFixed(1)}`).join("");
  const names = { deletion: "deletion", insertion: "insertion", random: "random order" };
  return h("figure.curves", {}, h("svg", { viewBox: "0 0 200 90", role: "img", "aria-label": `Score while cells are removed or inserted, from ${signed(low)} to ${signed(high)}; ${verdict.reason}` },
    h("path.axis", { d: "M4 4V86H196" }), Object.keys(names).filter((name) => found[name]).map((name) => h(`path.${name}`, { d: line(found[name]) }))),
    h("figcaption", {}, Object.entries(names).map(([name, title]) => h("span", {}, h(`i.${name}`), title)), h("span.number", {}, `F ${signed(low, 2)} … ${signed(high, 2)}`)));
}

function trust(result) {
  const { quality } = result;
  const { formulas } = props.value;
  const [sign, kind, words_] = LEVELS[quality.verdict.level];
  const signs = { good: "✔", fair: "~", poor: "⚠" };
  const details = h("details", {}, h("summary", {}, "The numbers"), h("dl", {}, NUMBERS.map(([name, title]) => [h("dt", { title: formulas[name] }, title), h("dd", {}, short(quality[name]))])), curves(quality), quality.notes.map((note) => h("p.quiet", {}, note)));
  return h("div.trust", {}, h(`button.verdict.${kind}`, { type: "button", title: "Show the numbers", onclick: () => { details.open = !details.open; } }, h("b", { "aria-hidden": "true" }, sign), h("span", {}, h("strong", {}, words_), h("small", {}, `Can I trust this map? ${quality.verdict.level}`))),
    h("ul.checks", {}, quality.verdict.checks.map((check) => h(`li.${check.mark}`, { title: formulas[check.name] }, h("b", { "aria-hidden": "true" }, signs[check.mark]), check.reason)), quality.verdict.checks.length ? null : h("li", {}, quality.verdict.reason)), details, h("div.sanity", {}));
}

function map() {
  const state = states.map;
  if (!state) return h("p.quiet", {}, "Which pixels and which words make the score? Choose a method and press Attribute.");
  const waiting = unfinished("map");
  if (waiting) return waiting;
  const { result } = state;
  const other = result.image;
  return h("div.result", {}, picture(result), h("div.text", {}, words(result),
    h("p.sum", { title: props.value.formulas.contribution }, `F = ${signed(other.score)}; with the image absent ${signed(other.reference)}; contributions add up to ${signed(other.total)}${other.delta === null ? "" : ` (delta ${short(other.delta)})`}.`),
    h("p.held", {}, result.held), result.notes.map((note) => h("p.note", {}, note)), result.region ? h("p.quiet", {}, `The pointing game asks for the annotated ${result.region}.`) : null,
    h("p.quiet.number", {}, `${result.title} · ${result.baseline} baseline · seed ${result.seed} · ${result.evaluations.toLocaleString("en")} evaluations in ${time(result.seconds)}`)), trust(result));
}

function sanity() {
  const state = states.sanity;
  if (!state) return h("button", { type: "button", title: props.value.formulas.sanity, onclick: () => compute("sanity") }, "Sanity check: shuffle the weights");
  const waiting = unfinished("sanity");
  if (waiting) return waiting;
  const { passed, reason, stages } = state.result;
  return h(`p.${passed === null ? "quiet" : passed ? "good" : "bad"}`, { title: stages.map(({ name, rho }) => `${name}: ρ ${rho === null ? "undefined" : rho.toFixed(2)}`).join("\n") }, passed ? "✔ " : passed === null ? "? " : "⚠ ", reason);
}

function balance() {
  const state = states.balance;
  if (!state) return h("button", { type: "button", onclick: () => compute("balance") }, "Weigh image against text");
  const waiting = unfinished("balance");
  if (waiting) return waiting;
  const { models, note } = state.result;
  const fall = (without, score) => h("td", { title: `${signed(score, 4)} → ${signed(without, 4)}` }, without === null ? "–" : h("span", {}, signed(without), h("small", {}, ` ${without > score ? "+" : "−"}${Math.abs(score - without).toFixed(3)}`)));
  return h("div", {}, h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, ["Model", "Score", "Without image", "Without text", "Other images", "Other texts", "Image's share", "Attention on the image"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, Object.entries(models).map(([version, m]) => h(`tr.${version}`, {}, h("th", { scope: "row" }, h("i.dot", { "aria-hidden": "true" }), worded(MODELS[version], props.value)), h("td", {}, signed(m.score)), fall(m.without_image, m.score), fall(m.without_text, m.score), fall(m.permuted_image, m.score), fall(m.permuted_text, m.score),
      h("td", { title: "The image's part of both falls" }, m.image_share === null ? "–" : percent(m.image_share)), h("td", {}, h("span.meter", { title: `${percent(m.attention.image)} on the image, ${percent(m.attention["text and prompt"])} on text and prompt` }, h("i", { style: { width: `${m.attention.image * 100}%` } }), h("b", {}, percent(m.attention.image))))))))), h("p.quiet", {}, note));
}

function draw(kind) {
  if (!props.value || !element.firstChild) return;
  if (kind === "map") element.querySelector(".body")?.replaceChildren(map());
  if (kind !== "balance") element.querySelector(".sanity")?.replaceChildren(sanity());
  if (kind === "balance") element.querySelector(".balance")?.replaceChildren(balance());
}

function render() {
  const value = props.value;
  if (!value) { asked = ""; return element.replaceChildren(); }
  const { settings, text } = value.entry;
  const key = keyOf(value), pair = JSON.stringify([value.entry.gallery, value.entry.id, text, value.entry.image]);
  if (key !== asked && states.map?.phase === "running" && states.map.key) server.stop({ key: states.map.key });
  if (key !== asked) states = { map: null, sanity: null, balance: states.pair === pair ? states.balance : null, pair };
  wanted = Object.fromEntries(Object.entries(value.defaults).map(([name, standard]) => [name, settings[name] || settings[name] === 0 ? settings[name] : standard]));
  if (!text?.trim()) {
    element.replaceChildren(h("section", { "aria-label": "Attribution" }, h("h3", {}, "Attribution"), h("p.quiet", {}, "Enter a query with a text: its words and the image's pixels are then weighed.")));
    return;
  }
  element.replaceChildren(h("section", { "aria-label": "Attribution" }, h("h3", {}, h("span", {}, "Attribution"), controls(value)), h("p.summary.quiet", {}), h("div.body", {})),
    h("section", { "aria-label": "Modality balance" }, h("h3", {}, h("span", {}, "Image against text"), h("span.quiet", {}, "How far the score falls without either")), h("div.balance", {})));
  restrict();
  for (const kind of ["map", "balance"]) draw(kind);
  if (settings.attribution && key !== asked) compute("map");
  asked = key;
}

watch("value", render);
render();
