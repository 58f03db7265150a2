// value: {allowed: {train, delete, bring}, closed, sets: [{id, name, source, images, scenes, report}], galleries: [{id, name, count}],
// annotations, check: {phase, message, fraction, result: {set}} | null, recipes: [{name, title, text, steps, batch, chunks,
// attention, subject, misalignment, head}], versions: [{id, name}], quotas, estimate: {…} | null, trouble}
// or {loading: true}. Triggers "check" {source, gallery, count}, "cancel", "drop" {set}, "ask" {settings}, "start" {settings}.
const { h, icon } = studio;
const WEIGHTS = [["attention", "Attention on the regions"], ["subject", "Phrase against subject"], ["misalignment", "Wrong region wins"], ["head", "Salience head"]];
const chosen = { data: null, recipe: "balanced", start: "base", name: "" }; // what the visitor has set; survives new values
let seen = null, asking = null;

const duration = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);
const size = (gb) => (gb < 1 ? `${Math.round(gb * 1000)} MB` : `${gb.toFixed(1)} GB`);
const n = (value) => value.toLocaleString("en");

function set(key, value, quietly) {
  chosen[key] = value;
  if (key === "recipe") for (const name of ["steps", "batch", "chunks", ...WEIGHTS.map((w) => w[0])]) delete chosen[name];
  if (!quietly) render();
  ask();
}
function ask() {
  clearTimeout(asking); // what is typed is in `chosen` at once, so that a value that comes meanwhile takes nothing away
  if (chosen.data) asking = setTimeout(() => trigger("ask", { settings: { ...chosen } }), 350);
}

function list(title, rows, columns) {
  if (!rows || !rows.length) return null;
  return h("details", { open: rows.length <= 4 }, h("summary", {}, `${title} (${n(rows.length)})`), h("div.scroll", {}, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.slice(0, 200).map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))))));
}

function report(set) {
  const r = set.report, count = (number, what) => h("span", {}, h("strong", {}, n(number)), ` ${what}`);
  if (set.scenes) return h("div.report", {}, h("p.counts", {}, count(set.images, "scenes with their twins to train on"), count(r.held_out, "other scenes held out")));
  const languages = Object.entries(r.languages).map(([name, number]) => `${name} ${n(number)}`).join(" · ");
  return h("div.report", {},
    h("p.use", {}, `Will be used: ${n(r.train)} images to train on, ${n(r.held_out)} held out`, r.split_made ? " (a tenth, as the data has no split)" : "", "."),
    h("p.counts", {}, count(r.found, "images found"), count(r.captions, "captions"), count(r.subjects, "subjects"), count(r.located, "with a region"), count(r.phrases, "different phrases")),
    languages ? h("p.counts", {}, h("span", {}, `Languages: ${languages}`)) : null,
    r.train && !r.located ? h("p.warn", {}, "No subject has a region: SSA-ME learns from captions alone, as the baseline does.") : null,
    r.without_text ? h("p.warn", {}, `${n(r.without_text)} images have neither caption nor subject and are left out.`) : null,
    list("Wrong, line by line", r.wrong, ["Where", "What"]), list("Skipped", r.skipped, ["File", "Why"]),
    list("Kept out of training: also held out", r.leakage, ["File", "Same as"]), list("Duplicates", r.duplicates, ["File", "Same as"]));
}

function sources(value) {
  const pick = (source, more) => trigger("check", { source, ...more });
  const gallery = h("select", { "aria-label": "Gallery", id: "train-gallery" }, value.galleries.map((g) => h("option", { value: g.id }, `${g.name} (${n(g.count)})`)));
  const scenes = h("input", { type: "number", min: 10, max: 4000, value: 200, "aria-label": "Number of scenes" });
  const busy = value.check?.phase === "running";
  const button = (text, act) => h("button", { type: "button", disabled: busy, onclick: act }, text);
  return h("div.sources", {},
    value.galleries.length ? h("div.line", {}, gallery, button("Use its captions and subjects", () => pick("gallery", { gallery: gallery.value })),
      value.annotations ? button("Use its validated regions", () => pick("annotations", { gallery: gallery.value })) : null) : null,
    h("div.line", {}, scenes, button("Use generated scenes", () => pick("scenes", { count: Number(scenes.value) }))));
}

function checking(check) {
  if (!check || check.phase === "done") return null;
  if (check.phase !== "running") return h("p.warn", { role: "alert" }, check.message);
  const bar = h("progress", { max: 1, "aria-label": "Progress of the check" });
  if (check.fraction !== null) bar.value = check.fraction;
  return h("div.checking", { role: "status" }, h("div.line", {}, h("span.grow", {}, check.message), h("button", { type: "button", onclick: () => trigger("cancel") }, "Cancel")), bar);
}

function data(value) {
  const current = value.sets.find((s) => s.id === chosen.data);
  return h("section", { "aria-label": "Data" }, h("h3", {}, h("b", {}, "1"), "Data"),
    value.sets.length ? h("div.line", {}, h("select.grow", { id: "train-data", "aria-label": "Data set", onchange: (e) => set("data", e.target.value) },
      value.sets.map((s) => h("option", { value: s.id, selected: s.id === chosen.data }, `${s.name} · ${n(s.images)} images`))),
      value.allowed.delete && current ? h("button.tool", { type: "button", title: "Delete this data set", "aria-label": "Delete this data set", onclick: () => { if (confirm(`Delete the data set “${current.name}”? Versions trained on it stay.`)) trigger("drop", { set: current.id }); } }, icon("close", 15)) : null) : h("p.quiet", {}, "Nothing to train on yet. Upload a zip above, or take one of these:"),
    checking(value.check), current ? report(current) : null,
    value.allowed.bring ? h("details.more", { open: !value.sets.length }, h("summary", {}, "Other data that is here"), sources(value)) : null,
    h("p.quiet", {}, h("a", { href: "studio/sample-set", download: "" }, "Download a small sample set"), " to see the format: images beside a metadata.jsonl."));
}

function number(label, key, recipe, hint, step) {
  const value = chosen[key] ?? recipe[key];
  return h("label", { title: hint }, h("span", {}, label), h("input", { type: "number", min: step ? 0 : 1, step: step || 1, value, name: key, oninput: (e) => (chosen[key] = e.target.value), onchange: (e) => set(key, e.target.value === "" ? recipe[key] : Number(e.target.value), true) }));
}

function recipes(value) {
  const recipe = value.recipes.find((r) => r.name === chosen.recipe) || value.recipes[0];
  return h("section", { "aria-label": "Recipe" }, h("h3", {}, h("b", {}, "2"), "Recipe"),
    h("div.cards", { role: "radiogroup", "aria-label": "Recipe" }, value.recipes.map((r) => h("button", { type: "button", role: "radio", "aria-checked": String(r.name === recipe.name), onclick: () => set("recipe", r.name) }, h("strong", {}, r.title), h("span", {}, `${r.steps} steps × ${r.batch}`)))),
    h("p.quiet.text", {}, recipe.text),
    h("div.grid", {}, number("Steps of each model", "steps", recipe, "How often the weights are changed, for the baseline and for SSA-ME alike"), number("Images a step", "batch", recipe, "The batch: more give better contrast and need more memory"), number("Chunks", "chunks", recipe, "A batch is computed in so many parts: less memory, a little slower, the same result")),
    h("details.more", {}, h("summary", {}, "Weights of the objectives"), h("p.quiet", {}, "How much each of SSA-ME's objectives counts beside the contrast of texts and images. 0 switches one off. The baseline learns by contrast alone."),
      h("div.grid", {}, WEIGHTS.map(([key, title]) => number(title, key, recipe, title, 0.05)))),
    h("div.grid.two", {}, h("label", {}, h("span", {}, "Start from"), h("select", { name: "start", onchange: (e) => set("start", e.target.value, true) }, value.versions.map((v) => h("option", { value: v.id, selected: v.id === chosen.start }, v.name)))),
      h("label", {}, h("span", {}, "Name of the version"), h("input", { type: "text", maxlength: 60, name: "name", placeholder: "made of data and recipe", value: chosen.name, oninput: (e) => (chosen.name = e.target.value) }))));
}

function start(value) {
  const e = value.estimate, ready = value.allowed.train && chosen.data;
  return h("section.start", { "aria-label": "Start" }, h("h3", {}, h("b", {}, "3"), "Start"),
    e ? h("p.estimate", {}, h("strong", {}, `About ${duration(e.seconds)}`), e.needed_gb ? [" and ", h("strong", {}, size(e.needed_gb))] : "", ` on ${e.device}. `, h("span.quiet", {}, e.measured ? "Time by the rate of an earlier run here. " : "A guess from the model's size; after the first run it is measured. ", e.shares)) : h("p.quiet", {}, chosen.data ? "Estimating …" : "Choose data first."),
    value.trouble ? h("p.warn", { role: "alert" }, value.trouble) : null,
    h("button.go", { type: "button", id: "train-start", disabled: !ready, onclick: () => trigger("start", { settings: { ...chosen } }) }, "Start training"),
    h("p.quiet", {}, "Baseline and SSA-ME are trained alike, one after the other. You can close the page; the run goes on."));
}

function render() {
  const value = props.value;
  if (!value?.sets) return element.replaceChildren(value?.loading ? h("p.closed", { role: "status" }, "The model is being loaded …") : "");
  const fresh = value.check?.result?.set;
  if (fresh && fresh !== seen) { seen = fresh; chosen.data = fresh; ask(); }
  if (!value.sets.some((s) => s.id === chosen.data)) { chosen.data = value.sets[0]?.id || null; ask(); }
  if (!value.versions.some((v) => v.id === chosen.start)) chosen.start = "base";
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const focus = active ? active.name || active.id : null, caret = active?.type === "text" ? active.selectionStart : null;
  const open = [...element.querySelectorAll("details.more")].map((d) => d.open);
  element.replaceChildren(h("div.form", {}, value.closed ? h("p.closed", { role: "note" }, value.closed) : null, data(value), recipes(value), start(value)));
  element.querySelectorAll("details.more").forEach((d, i) => { if (open[i] !== undefined && open.length === element.querySelectorAll("details.more").length) d.open = open[i]; });
  const again = focus ? element.querySelector(`[name="${focus}"], #${CSS.escape(focus)}`) : null;
  again?.focus();
  if (again && caret !== null) again.setSelectionRange(caret, caret);
}

watch("value", render);
render();
