// value: {token, id, subjects: [as the opened image's], asked: how many of them, the last, are phrases of one's own,
// regions: [{bbox, owner: n | null, label, inside: {version: share}}], scores: {version: [[phrases × regions]]}, source,
// image, size} or null. Triggers "adjust" {phrases}. Says "light" {boxes} and "phrase" to the maps; hears "point" from them.
const { h, worded, say, hear, percent, icon } = studio;
const VERSIONS = ["baseline", "ssa-me"], TITLES = { baseline: "Baseline", "ssa-me": "SSA-ME" };
const FORMULA = "cos(e(phrase), a): cosine of the phrase's embedding and the region's vector";
let chosen = 0; // the phrase whose regions are drawn while nothing is pointed at

const signed = (number) => number.toFixed(2).replace("-", "−");

// The part of the picture that a region shows.
function crop(value, bbox) {
  const [x, y, width, height] = bbox;
  const side = Math.max(width, height) * 1.08;
  return h("svg.crop", { viewBox: `${x + width / 2 - side / 2} ${y + height / 2 - side / 2} ${side} ${side}`, "aria-hidden": "true" },
    h("image", { href: value.image, width: value.size[0], height: value.size[1] }));
}

function bestOf(row) {
  return row.indexOf(Math.max(...row));
}

function verdict(subject) {
  if (!subject.region) return h("span.bad", { title: "The map for this phrase stays dark: nothing in the image stands out for it" }, "✘ No region found for it");
  if (subject.agrees === false) return h("span.bad", { title: `The region that fits "${subject.phrase}" best is another subject` }, `⚠ Misaligned: annotated as ${subject.label}`);
  if (subject.misaligned) return h("span.bad", {}, `⚠ Misaligned: a rival fits better (${signed(subject.rival_score)} > ${signed(subject.score)})`);
  const rival = subject.rival_score === null ? "no rival elsewhere" : `best rival ${signed(subject.rival_score)}`;
  if (subject.agrees) return h("span.good", {}, `✔ Aligned: annotated as ${subject.label}`, h("span.quiet", {}, ` (${rival})`));
  if (subject.rival_score === null) return h("span.quiet", {}, `Found; ${rival}`);
  return h("span.good", {}, "✔ Aligned", h("span.quiet", {}, ` (${rival})`));
}

function bars(inside) {
  return VERSIONS.map((version) => (inside[version] === undefined ? null
    : h(`span.bar.${version}`, { title: `${worded(TITLES[version], props.value)}: ${percent(inside[version])} of its attention on the image lies inside the region` }, h("i", { style: { width: `${Math.min(100, inside[version] * 100)}%` } }), h("b", {}, percent(inside[version])))));
}

function heading(value, region, at) {
  const name = `Region ${at + 1}`;
  const from = region.owner === null ? "of the index" : value.subjects.length > 1 ? `for ${value.subjects[region.owner].phrase}` : "of the phrase";
  return h("th.column", { scope: "col", "data-region": at, tabindex: 0, title: `${name}${region.label ? `, annotated as ${region.label}` : ""}`, onmouseenter: () => lightRegion(at), onfocus: () => lightRegion(at), onmouseleave: rest, onblur: rest },
    crop(value, region.bbox), h("span.label", {}, region.label || name), h("span.from", { title: region.owner === null ? "Found without a query: what the gallery's subject vectors stand for" : "The region of the phrase's own salience map" }, from), h("span.bars", {}, bars(region.inside)));
}

function cell(value, phrase, region) {
  const scores = Object.fromEntries(VERSIONS.map((version) => [version, value.scores[version][phrase]]));
  const own = value.regions[region].owner === phrase;
  const there = value.subjects[phrase].region !== null; // what is not found has no best region
  const wins = there && bestOf(scores["ssa-me"]) === region, won = there && bestOf(scores.baseline) === region;
  const said = [own ? "its own region" : "", wins ? worded("SSA-ME's best", value) : "", won ? worded("the baseline's best", value) : ""].filter(Boolean).join(", ");
  return h(`td${own ? ".own" : ""}${wins ? ".wins" : ""}`, { "data-region": region, title: `${FORMULA}${said ? `; ${said}` : ""}`, onmouseenter: () => lightRegion(region, phrase), onmouseleave: rest },
    h("span.ssa-me", { style: { "--share": Math.max(0, scores["ssa-me"][region]) } }, wins ? "▲ " : "", signed(scores["ssa-me"][region])),
    h("span.baseline", {}, won ? "▲ " : "", signed(scores.baseline[region])));
}

function row(value, subject, at) {
  const own = at >= value.subjects.length - value.asked;
  const drop = own ? h("button.drop", { type: "button", title: "Remove this phrase", "aria-label": `Remove ${subject.phrase}`, onclick: () => send(asked(value).filter((phrase) => phrase !== subject.phrase)) }, icon("close", 12)) : null;
  const enter = () => lightPhrase(at);
  return h("tr", { "data-phrase": at },
    h("th", { scope: "row", tabindex: 0, onmouseenter: enter, onfocus: enter, onmouseleave: rest, onclick: () => choose(at), onkeydown: (event) => { if (event.key === "Enter") choose(at); } },
      h("span.phrase", {}, subject.phrase, drop), h("span.verdict", {}, verdict(subject))),
    value.regions.map((_, region) => cell(value, at, region)));
}

const asked = (value) => value.subjects.slice(value.subjects.length - value.asked).map((subject) => subject.phrase);

function send(phrases) {
  element.firstChild?.setAttribute("aria-busy", "true");
  trigger("adjust", { phrases });
}

function adding(value) {
  const input = h("input", { type: "text", maxlength: 200, placeholder: "A phrase of your own …", "aria-label": "A phrase of your own", autocomplete: "off" });
  return h("form.adding", { onsubmit: (event) => { event.preventDefault(); if (input.value.trim()) send([...asked(value), input.value.trim()]); } }, input, h("button", { type: "submit" }, "Score it"));
}

function mark(phrase, region) {
  element.querySelectorAll("tbody tr").forEach((node, at) => node.classList.toggle("lit", at === phrase));
  element.querySelectorAll("[data-region]").forEach((node) => node.classList.toggle("lit", Number(node.dataset.region) === region));
}

function lightPhrase(at) {
  const subject = props.value?.subjects?.[at];
  if (!subject) return say("light", { boxes: [] });
  mark(at, props.value.regions.findIndex((region) => region.owner === at));
  say("light", { boxes: [[subject.rival, "rival"], [subject.region, "region"]] });
}

// Light a region, and the phrase that fits it best where none is given.
function lightRegion(region, phrase = null) {
  const { scores, regions } = props.value;
  const column = scores["ssa-me"].map((cells) => cells[region]);
  mark(phrase ?? bestOf(column), region);
  say("light", { boxes: [[regions[region].bbox, "region"]] });
}

function rest() { lightPhrase(chosen); }

function choose(at) {
  chosen = at;
  lightPhrase(at);
  say("phrase", at);
}

function under({ x, y }) {
  const inside = props.value.regions.map(({ bbox }, at) => [at, bbox]).filter(([, [left, top, width, height]]) => x >= left && y >= top && x <= left + width && y <= top + height);
  inside.sort(([, a], [, b]) => a[2] * a[3] - b[2] * b[3]);
  return inside.length ? inside[0][0] : null;
}

function render() {
  const value = props.value;
  if (!value || !value.subjects) return element.replaceChildren();
  const typing = element.contains(document.activeElement) && document.activeElement.matches(".adding input, .adding button");
  chosen = Math.min(chosen, Math.max(0, value.subjects.length - 1));
  const by = { lmm: "Phrases listed by the language model", rule: "", given: "" }[value.source];
  const table = value.subjects.length === 0 ? h("p.quiet", {}, "The query names no subject. Type a phrase to see which region answers to it.")
    : value.regions.length === 0 ? h("p.quiet", {}, "No region stands out in this image: there is nothing to align with.")
      : h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span.quiet", {}, "Phrase")), value.regions.map((region, at) => heading(value, region, at)))),
        h("tbody", {}, value.subjects.map((subject, at) => row(value, subject, at)))));
  element.replaceChildren(h("section", { "aria-label": "Subject alignment" },
    h("h3", {}, h("span", {}, "Subject alignment"), h("span.key", { title: FORMULA }, h("i.dot.ssa-me"), worded("SSA-ME", value), h("i.dot.baseline"), worded("Baseline", value), h("span", {}, "▲ best region"), h("span", {}, h("i.ring"), " its own")), by ? h("span.quiet", {}, by) : null, adding(value)),
    table, h("p.legend", {}, h("i.region"), "the phrase's region", h("i.rival"), "strongest rival", h("span.hint", {}, "Point at a phrase, a region or a picture: each lights the others."))));
  rest();
  if (typing) element.querySelector(".adding input").focus({ preventScroll: true });
}

hear(element, "point", (at) => {
  if (!props.value?.regions?.length || !props.value.subjects.length) return;
  const region = at && under(at);
  if (region === null) rest();
  else lightRegion(region);
});
watch("value", render);
render();
