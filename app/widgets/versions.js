// value: {allowed, versions: [{id, name, origin, created, parent, parent_name, fingerprints, data, recipe, unfinished, compared, url}], in_use,
// sets: [{id, name}], result: {id, before, after, images, queries, regions, table: [{measure, baseline: {before, after, value, interval}, "ssa-me": …}], moves} | null,
// importing: {phase, message} | null}. Says "versions" to the page's head: those beside the one in use. Triggers "use" {id}, "rename" {id, name}, "remove" {id}, "compare" {before, after, data}, "result" {id}.
const { h, say } = studio;
const n = (value) => value.toLocaleString("en");
const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : "±"}${Math.abs(value * 100).toFixed(1)}`;
const pick = { before: null, after: null, data: null };

function facts(v) {
  if (v.origin === "start") return "what the page was started with";
  const made = [v.origin === "imported" ? "imported" : null, v.data?.name ? `${v.data.name} (${n(v.data.images)} images)` : null, v.recipe?.recipe ? `${v.recipe.recipe}, ${n(v.recipe.steps)} steps × ${v.recipe.batch}` : null, v.parent_name ? `from ${v.parent_name}` : null];
  return [...made, new Date(v.created * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })].filter(Boolean).join(" · ");
}

function rename(v) {
  const name = prompt("Name of the version", v.name);
  if (name && name.trim() && name !== v.name) trigger("rename", { id: v.id, name });
}

function version(v, value) {
  const used = v.id === value.in_use, own = v.id !== "base", allowed = value.allowed;
  const button = (text, act, hint) => h("button", { type: "button", title: hint, onclick: act }, text);
  return h(`li${used ? ".used" : ""}`, {},
    h("div.line", {}, h("strong.name", {}, v.name), used ? h("span.badge", {}, "✔ in use") : null,
      h("div.actions", {},
        !used && allowed.train ? button(own ? "Use" : "Roll back to it", () => trigger("use", { id: v.id }), "Search and all other tabs work with it from then on; galleries are embedded again where they lack it") : null,
        v.compared ? button("Before/after", () => trigger("result", { id: v.id }), "What changed against the version that it came from") : null,
        own && allowed.train ? button("Rename", () => rename(v)) : null,
        h("a", { href: v.url, download: "", title: "The checkpoint folder as a zip, which every command takes" }, "Export"),
        own && !used && allowed.delete ? button("Delete", () => { if (confirm(`Delete the version “${v.name}” and its weights?`)) trigger("remove", { id: v.id }); }) : null)),
    h("p.facts", {}, facts(v)),
    h("p.facts.print", { title: "Hashes of everything that the vectors of each model depend on" }, `baseline ${v.fingerprints.baseline || "–"} · SSA-ME ${v.fingerprints["ssa-me"] || "–"}`),
    v.unfinished.length ? h("p.warn", {}, `Kept as far as it came: ${v.unfinished.join(" and ")} did not get all steps, so that the two do not compare fairly.`) : null);
}

function cell(found) {
  if (!found) return h("td", {}, "–");
  const [low, high] = found.interval, sure = low > 0 ? "better" : high < 0 ? "worse" : "";
  const about = found.before === null || found.before === undefined ? null : h("span.from", {}, `${(found.before * 100).toFixed(1)} → ${(found.after * 100).toFixed(1)}`);
  return h("td", {}, about, h(`span.gap${sure ? `.${sure}` : ""}`, { title: "After less before, in points, with its 95 % interval (paired bootstrap, clustered by image)" }, `${signed(found.value)} `, h("small", {}, `[${signed(low)}, ${signed(high)}]`), sure ? ` ${sure}` : ""));
}

function result(r) {
  const rank = (pair) => h("td.rank", {}, `${pair[0]} → ${pair[1]}`, pair[1] < pair[0] ? h("span.better", {}, " ▲") : pair[1] > pair[0] ? h("span.worse", {}, " ▼") : "");
  return h("div.result", {}, h("h4", {}, "Before and after: ", h("em", {}, `${r.before} → ${r.after}`)),
    h("p.facts", {}, `The same ${n(r.queries)} captions as queries on ${n(r.images)} held-out images; ${n(r.regions)} regions. Percent; in brackets the 95 % interval of the difference. An interval that holds 0 says that nothing is shown.`),
    h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), h("th.baseline", { scope: "col" }, h("i.dot", {}), "Baseline"), h("th.ssa-me", { scope: "col" }, h("i.dot", {}), "SSA-ME"))),
      h("tbody", {}, r.table.map((row) => h("tr", {}, h("th", { scope: "row" }, row.measure), cell(row.baseline), cell(row["ssa-me"])))))),
    r.moves.length ? h("details", {}, h("summary", {}, "Queries that moved most"), h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, ["Query", "Rank, baseline", "Rank, SSA-ME"].map((t) => h("th", { scope: "col" }, t)))),
      h("tbody", {}, r.moves.map((m) => h("tr", {}, h("td.query", {}, m.text), rank(m.baseline), rank(m["ssa-me"]))))))) : null);
}

function compare(value) {
  if (value.versions.length < 2 || !value.sets.length || !value.allowed.train) return null;
  const ids = value.versions.map((v) => v.id);
  if (!ids.includes(pick.before)) pick.before = ids[0];
  if (!ids.includes(pick.after)) pick.after = ids[ids.length - 1];
  if (!value.sets.some((s) => s.id === pick.data)) pick.data = value.sets[0].id;
  const select = (key, label, options) => h("select", { "aria-label": label, onchange: (e) => (pick[key] = e.target.value) }, options.map((o) => h("option", { value: o.id, selected: o.id === pick[key] }, o.name)));
  return h("details.compare", {}, h("summary", {}, "Compare any two"), h("div.line", {}, select("before", "Before", value.versions), h("span", { "aria-hidden": "true" }, "→"), select("after", "After", value.versions), h("span.quiet", {}, "on"), select("data", "Data set", value.sets),
    h("button", { type: "button", onclick: () => trigger("compare", { ...pick }) }, "Compare")));
}

function render() {
  const value = props.value;
  if (!value?.versions) return;
  const open = element.querySelector("details.compare")?.open, moves = element.querySelector(".result details")?.open;
  const importing = value.importing;
  say("versions", value.versions.filter(({ id }) => id !== value.in_use).map(({ id, name }) => ({ id, name })));
  element.replaceChildren(h("section", { "aria-label": "Versions" }, h("h3", {}, "Versions of the model"),
    importing && importing.phase !== "done" ? h(importing.phase === "failed" ? "p.warn" : "p.facts", { role: "status" }, importing.message) : null,
    h("ul", { role: "list" }, value.versions.map((v) => version(v, value))), compare(value), value.result ? result(value.result) : null));
  if (open) element.querySelector("details.compare").open = true;
  if (moves && element.querySelector(".result details")) element.querySelector(".result details").open = true;
}

watch("value", render);
render();
