// value: {text, image: {hash, width, height, url} | null, weight, k, method, salience, refining} (see `Refining`).
// Props: examples, methods, pairs, duplicate, keeps. Triggers "submit" after it has put what was entered into the value.
// Server functions: take_image(file) -> {image}, look_up, keep, recall, forget (see `filters.js`); all may answer {error}.
// Hears "salience" from the opened image, and says "conditioned" to the lists where a choice needs no new search.
const { h, icon, say, hear } = studio;

const METHOD_HINTS = {
  vector: "One vector an image: cos(q, e)",
  subjects: "Each thing that the text states held against the image's subjects: (1 − b) · cos(q, e) + b · mean_p max_k cos(p, s_k), for both models",
  rerank: "The best 20 read again together with the query, and asked for each thing that it names, under the salience that it conditions, for both models; for SSA-ME how the image's subjects agree with the text counts half",
};
const SALIENCE_HINTS = {
  head: "Salience of an opened image and of a re-ranking by the light head that was distilled",
  full: "By the whole pipeline: the language model lists the subjects, a visual expert and semantic relevance find them",
};
let entered = { text: "", image: null, weight: 0.5, k: 10, method: "vector", salience: "head", refining: {}, ...(props.value || {}) };
let openedId = null;

const text = h("input.text", { type: "search", name: "q", title: "A minus says what is unwanted: red bird -flower, street -\"parked car\". That direction is taken off the query's vector, and off images with such a subject.", placeholder: "Describe what you look for, paste an image, or both", "aria-label": "Query text", autocomplete: "off", enterkeyhint: "search", spellcheck: "false" });
const file = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Query image", onchange: () => file.files[0] && take(file.files[0]) });
const add = h("button.add", { type: "button", title: "Search with an image: choose, drop, or paste it", onclick: () => file.click() }, icon("image", 18), h("span", {}, "Image"));
const picture = h("span.picture", { hidden: true });
const go = h("button.go", { type: "submit", "aria-label": "Search" }, h("span", {}, "Search"), icon("search", 20));
const weight = h("input", { type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Weight of the image" });
const share = h("output");
const blend = h("label.blend", {}, h("span", {}, "text"), weight, h("span", {}, "image"), share);
const count = h("input.count", { type: "number", min: 1, step: 1, inputmode: "numeric", "aria-label": "Number of results" });
const method = h("select", { "aria-label": "Ranking", onchange: () => { filters.set({ ...filters.get(), rankings: [] }, method.value); showMethod(); } },
  (props.methods || []).map(([value, name]) => h("option", { value, hidden: value === "mixed" }, name)));
const filters = studio.filters({
  pairs: props.pairs, duplicate: props.duplicate, keeps: props.keeps,
  changed: () => { showMethod(); showImage(); if (text.value.trim() || entered.image) submit(openedId); },
  look: () => ask("look_up", {}),
  keep: (sent) => ask("keep", { ...sent, entered: now(), link: location.search }),
  forget: (sent) => ask("forget", sent),
  recall: async (sent) => {
    const { entered: found } = await ask("recall", sent);
    entered = { ...entered, ...found };
    show();
    submit(found.hit ?? null);
  },
});
async function ask(name, sent) {
  const answer = await server[name]({ gallery: window.studioGallery ?? null, ...sent });
  if (answer.error) throw new Error(answer.error);
  return answer;
}
const salience = h("select", { "aria-label": "Salience", onchange: () => condition(salience.value) },
  Object.keys(SALIENCE_HINTS).map((value) => h("option", { value }, value)));
const chips = h("div.chips", {}, h("span.quiet", {}, "Try"), (props.examples || []).map((example) =>
  h("button", { type: "button", onclick: () => { drop(); text.value = example; submit(); } }, example)));
const form = h("form.query", { role: "search", novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
  h("div.field", {}, icon("search", 18), picture, text, add, file, go),
  h("div.options", {}, blend, h("label", { title: "How many results each list shows" }, "k", count), h("label", { title: "What both lists are ranked by" }, "Rank by", method),
    h("label.conditioned", {}, "Salience", salience), filters.toggle, filters.active, chips),
  filters.panel);
element.replaceChildren(form);

// Show `entered` in the form.
function show() {
  text.value = entered.text || "";
  weight.value = entered.weight;
  count.value = entered.k;
  filters.set(entered.refining, entered.method);
  showMethod();
  showSalience();
  showImage();
}

function showMethod() {
  method.value = filters.get().rankings.length ? "mixed" : filters.method();
  method.title = METHOD_HINTS[method.value] || "Two lists of choice: see the filters";
}

// The query's image, or the part of it that more is looked for of.
function pictureOf(image, region) {
  const title = region ? `A part of the image: ${region[2]} × ${region[3]} px` : `${image.width} × ${image.height} px`;
  if (!region) return h("img", { src: image.url, alt: "The query's image", title });
  const part = h("svg.part", { viewBox: region.join(" "), preserveAspectRatio: "xMidYMid meet", role: "img", "aria-label": "The part of the query's image" },
    h("image", { href: image.url, width: image.width, height: image.height }));
  part.style.width = `${Math.max(30, Math.min(90, (42 * region[2]) / region[3]))}px`;
  return part;
}

function showImage() {
  const { image } = entered, { region } = filters.get();
  picture.hidden = !image;
  add.hidden = Boolean(image);
  picture.replaceChildren(...(image ? [
    pictureOf(image, region),
    h("button", { type: "button", "aria-label": "Remove the image", title: "Remove the image", onclick: drop }, icon("close", 13)),
  ] : []));
  showWeight();
}

function showSalience() {
  salience.value = entered.salience || "head";
  salience.title = SALIENCE_HINTS[salience.value];
}

// A re-ranking is conditioned by it and is made again; otherwise only the opened image is.
function condition(mode) {
  entered.salience = mode;
  showSalience();
  if (filters.names().some((name) => name.endsWith("+rerank")) && openedId !== null) submit(openedId);
  else say("conditioned", mode);
}

// The weight says something only where there are both a text and an image.
function showWeight() {
  const both = Boolean(entered.image) && text.value.trim() !== "";
  weight.disabled = !both;
  blend.classList.toggle("off", !both);
  share.textContent = both ? Number(weight.value).toFixed(2) : "";
  blend.title = both ? "0: text alone; 0.5: the joint embedding of both; 1: image alone; linear between, renormalised"
    : "Weighs text against image: needs both";
}

function drop() {
  entered.image = null;
  filters.set({ ...filters.get(), region: null }, filters.method());
  file.value = "";
  showImage();
}

async function take(blob) {
  form.classList.add("loading");
  try {
    const named = blob.name ? blob : new File([blob], "pasted.png", { type: blob.type });
    const { path } = await upload(named);
    const answer = await server.take_image({ path, name: named.name });
    if (answer.error) say("message", { kind: "warning", text: answer.error });
    else {
      entered.image = answer.image;
      filters.set({ ...filters.get(), region: null }, filters.method());
      say("message", null);
      showImage();
      text.focus();
    }
  } catch {
    say("message", { kind: "warning", text: "The image could not be uploaded. It may be larger than the limit; try a smaller one." });
  } finally {
    form.classList.remove("loading");
    file.value = "";
  }
}

// What is entered, as it is sent.
function now(hit = null) {
  return { ...entered, linked: false, models: [], hit, text: text.value, weight: Number(weight.value), k: count.value, method: filters.method(), refining: filters.get() };
}

function submit(hit = null) {
  entered = now(hit);
  form.classList.add("busy");
  go.disabled = true;
  props.value = { ...entered };
  trigger("submit");
}

function rest() {
  form.classList.remove("busy");
  go.disabled = false;
}

function pictureIn(data) {
  return [...(data?.files || [])].find((item) => item.type.startsWith("image/") || /\.(jpe?g|png|webp|bmp|gif|tiff?)$/i.test(item.name));
}

text.addEventListener("input", showWeight);
weight.addEventListener("input", showWeight);
weight.addEventListener("change", () => { if (entered.image) submit(); });
document.addEventListener("paste", (event) => {
  const image = element.isConnected && pictureIn(event.clipboardData);
  if (image) { event.preventDefault(); take(image); }
});
form.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("over"); });
form.addEventListener("dragleave", (event) => { if (!form.contains(event.relatedTarget)) form.classList.remove("over"); });
form.addEventListener("drop", (event) => {
  event.preventDefault();
  form.classList.remove("over");
  const [dropped] = event.dataTransfer.files;
  if (dropped) take(dropped);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && element.isConnected && !event.target.closest("input, textarea, select")) { event.preventDefault(); text.focus(); text.select(); }
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "f" && studio.isSeen(element) && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); filters.open(filters.panel.hidden); }
});
hear(element, "found", (lists) => filters.aligned(lists));
// Which list shows only what the other one lacks is chosen there, and goes into what is sent.
hear(element, "only", (only) => filters.set({ ...filters.get(), only }, filters.method()));
hear(element, "done", rest);
hear(element, "salience", condition);
hear(element, "open", ({ id }) => { openedId = id; });
hear(element, "closed", () => { openedId = null; });

watch("value", () => {
  // A link's query comes a moment after the page: what was typed by then stays.
  if (props.value.linked && text.value.trim() !== "" && text.value !== props.value.text) return;
  entered = { ...entered, ...props.value };
  show();
});
show();
