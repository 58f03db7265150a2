// No value. Server function: failures_page(parameters) -> {run, parameters, state, counts, slices, histograms, total, offset,
// limit, rows} | {error}; `parameters` are those of the page's link. Triggers "inspect" {run, row}. Hears "failures-open"
// {run}, "failures-latest" and "failures-lasso" {lasso}; says "failures-shown" {page, parameters} and "failures-vote" {page, at}.
const { h, worded, say, hear, icon, visitAddress, copyAddress } = studio;
studio.failures ??= { parameters: {}, latest: null };
const shared = studio.failures;
let page = null; // the answer that is shown
let asked = 0;
let typing = null;

const OUTCOMES = [
  ["all", "All", "Every query of the run"], ["fixed", "Fixed by SSA-ME", "SSA-ME has a right image among its first k, the baseline has not"],
  ["broken", "Broken by SSA-ME", "The baseline has a right image among its first k, SSA-ME has not"],
  ["both-wrong", "Both wrong", "Neither has a right image among its first k"], ["both-right", "Both right", "Both have a right image among their first k"],
];
const HISTOGRAMS = {
  gain: ["Ranks gained", "The baseline's rank less SSA-ME's; bins widen with the distance from none"],
  alignment: ["Subject alignment", "The least cos(e(p), a) of the query's phrases with their regions in the right image"],
  length: ["Words", "Words of the query"], size: ["Size of the subject", "Its share of the right image's area"],
};
const COLUMNS = [
  ["query", "Query", "", "The query, what it asks to be bound, and its weakest phrase"], ["target", "Right image", "image", "The right image that SSA-ME ranks best"],
  ["rank_baseline", "Baseline", "number", "The baseline's rank of the best right image; ties count against it"], ["rank_ssa_me", "SSA-ME", "number", "SSA-ME's rank of the best right image; ties count against it"],
  ["gain", "Gained", "number", "The baseline's rank less SSA-ME's"], ["top", "First instead", "wide", "What each model puts first where that is not right"],
  ["alignment", "Alignment", "number wide", "cos(e(p), a) of the phrase that fits worst and its region; a dash where no region lies on its subject"],
  ["misaligned", "Region", "wide", "Misaligned: another region of the right image scores higher for that phrase than its own"],
  ["size", "Size", "number wide", "The subject's share of the right image's area"], ["length", "Words", "number wide", "Words of the query"],
];
const UNSORTED = new Set(["target", "top"]);

function fromAddress() {
  const given = new URLSearchParams(location.search);
  return Object.fromEntries([...given].filter(([name]) => /^f[robkqtlsp]$/.test(name)));
}

function toAddress() {
  const { gallery, fingerprints } = page.run;
  visitAddress(`?${new URLSearchParams({ tab: "failures", g: gallery, ...(page.run.against ? { vs: page.run.against } : {}), v: Object.values(fingerprints).join("-"), ...shared.parameters })}`);
}

// Ask for what `changes` make of the parameters; without a page number it begins at the first.
async function go(changes, keep = false) {
  const wanted = { ...shared.parameters, ...(keep ? {} : { fp: "" }), ...changes };
  const parameters = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value));
  const mine = ++asked;
  element.firstElementChild?.setAttribute("aria-busy", "true");
  let answer;
  try { answer = await server.failures_page(parameters); } catch { answer = { error: "The page has lost its server. Reload it." }; }
  if (mine !== asked) return;
  element.firstElementChild?.removeAttribute("aria-busy");
  if (answer.error) return trouble(answer.error);
  page = answer;
  shared.page = answer;
  shared.parameters = answer.parameters;
  toAddress();
  render();
  say("failures-shown", { page, parameters: shared.parameters });
}

function trouble(text) {
  element.querySelector(".trouble")?.remove();
  element.prepend(h("p.trouble", { role: "alert" }, text));
  if (!page) shared.parameters = {};
}

const encodeTags = (tags) => tags.map(([column, value]) => `${encodeURIComponent(column)}:${encodeURIComponent(value)}`).join(",");
const encodeRanges = (ranges) => Object.entries(ranges).map(([name, [low, high]]) => `${name}:${low}..${high}`).join(",");
const number = (value) => value.toLocaleString("en");
const same = (a, b) => a[0] === b[0] && a[1] === b[1];

function outcomes({ state, counts }) {
  return h("div.outcomes", { role: "tablist", "aria-label": "Outcome" }, OUTCOMES.map((parts) => parts.map((part) => worded(part, page.run))).map(([id, title, hint]) =>
    h(`button.${id}`, { type: "button", role: "tab", title: hint, "aria-selected": String(state.outcome === id), "data-outcome": id, onclick: () => go({ fo: id === "all" ? "" : id }) },
      title, h("b", {}, number(counts[id])))));
}

function tools({ state, total, run }) {
  const text = h("input.find", { type: "search", placeholder: "Find in queries", "aria-label": "Find in queries", value: state.text,
    oninput: () => { clearTimeout(typing); typing = setTimeout(() => go({ fq: text.value }), 250); } });
  const cutoff = h("span.choice", { role: "group", "aria-label": "Right within" }, [1, 5, 10].map((k) =>
    h("button", { type: "button", "aria-pressed": String(state.k === k), title: `Right: a right image among the first ${k}`, onclick: () => go({ fk: k === 1 ? "" : String(k) }) }, `@${k}`)));
  const link = new URLSearchParams(shared.parameters);
  link.delete("fr");
  const download = (kind, title) => h("a", { href: `studio/failures/${run.id}/rows.${kind}?${link}`, download: "", title: `${title} of the ${number(total)} selected queries` }, kind === "html" ? "Report" : kind.toUpperCase());
  const copy = h("button.tool", { type: "button", title: "Copy a link to these failures", onclick: () => copyAddress(copy) }, icon("link", 14), h("span", {}, "Copy link"));
  const vote = h("button.tool", { type: "button", title: "Vote on the two lists of each query, without knowing which model made which", onclick: () => say("failures-vote", { page, at: 0 }) }, "Vote A or B");
  return h("div.tools", {}, text, h("label.within", {}, "right", cutoff), h("span.space"), vote, h("span.exports", {}, download("html", "A report"), download("csv", "A table"), download("json", "Data")), copy);
}

function slices({ slices: found, state }) {
  const what = OUTCOMES.find(([id]) => id === state.outcome)[1];
  const among = worded(state.outcome === "all" ? "what SSA-ME misses" : `“${what[0].toLowerCase()}${what.slice(1)}”`, page.run);
  const chip = (slice) => h("button.chip", { type: "button", "aria-pressed": String(slice.chosen), "data-column": slice.column, "data-value": slice.value,
    title: `${slice.column}: ${slice.value}\n${slice.failures} of ${slice.count} queries, ${slice.expected.toFixed(1)} expected by chance\nFisher's exact test, p = ${slice.p.toPrecision(2)}; q = ${slice.q.toPrecision(2)} by Benjamini and Hochberg`,
    onclick: () => toggle([slice.column, slice.value]) }, h("span.quiet", {}, slice.column), ` ${slice.value} `, h("b", {}, `×${slice.lift.toFixed(1)}`));
  const others = state.tags.filter((tag) => !found.some((slice) => same(tag, [slice.column, slice.value])));
  const chosen = others.map((tag) => h("button.chip", { type: "button", "aria-pressed": "true", onclick: () => toggle(tag) }, h("span.quiet", {}, tag[0]), ` ${tag[1]} ×`));
  return h("div.slices", {}, h("span.quiet", { title: "Words, colours, subjects, sizes and columns of the data that stand there more often than chance allows (q ≤ 0.05)" }, found.length ? `More frequent in ${among}` : `Nothing is more frequent in ${among} than by chance`),
    found.map(chip), chosen,
    state.lasso ? h("button.chip", { type: "button", "aria-pressed": "true", title: "Images inside the line drawn on the map", onclick: () => go({ fl: "" }) }, "lasso ×") : null);
}

function toggle(tag) {
  const tags = page.state.tags.some((other) => same(other, tag)) ? page.state.tags.filter((other) => !same(other, tag)) : [...page.state.tags, tag];
  go({ ft: encodeTags(tags) });
}

const edge = (column, value, low) => (column === "size" ? `${Math.round(100 * value)} %` : column === "alignment" ? value.toFixed(2) : String(low ? Math.ceil(value) : Math.floor(value)));

// Bars that can be brushed: drag over them, or with the keyboard arrows, Shift and Enter.
function histogram(spread) {
  const { column, edges, total, selected } = spread;
  const [title, hint] = HISTOGRAMS[column].map((part) => worded(part, page.run));
  const most = Math.max(1, ...total), range = page.state.ranges[column];
  const inside = (bin) => !range || (edges[bin + 1] > range[0] && edges[bin] < range[1]);
  const bars = total.map((count, bin) => h(`i${inside(bin) ? "" : ".out"}`, { title: `${edge(column, edges[bin], true)} to ${edge(column, edges[bin + 1], false)}: ${number(selected[bin])} selected of ${number(count)}` },
    h("u", { style: { height: `${100 * Math.sqrt(count / most)}%` } }), h("b", { style: { height: `${100 * Math.sqrt(selected[bin] / most)}%` } })));
  let from = null, to = null;
  const mark = () => bars.forEach((bar, bin) => bar.classList.toggle("brushed", from !== null && bin >= Math.min(from, to) && bin <= Math.max(from, to)));
  const apply = () => {
    const [low, high] = [edges[Math.min(from, to)], edges[Math.max(from, to) + 1]];
    go({ fb: encodeRanges({ ...page.state.ranges, [column]: [low, high] }) });
  };
  const clear = () => { const { [column]: gone, ...rest } = page.state.ranges; go({ fb: encodeRanges(rest) }); };
  const binAt = (event) => {
    const box = plot.getBoundingClientRect();
    return Math.max(0, Math.min(total.length - 1, Math.floor(((event.clientX - box.left) / box.width) * total.length)));
  };
  const plot = h("div.plot", { tabindex: 0, role: "group", "aria-label": `${title}: brush with the arrow keys, Shift and Enter; Escape clears`,
    onpointerdown: (event) => { plot.setPointerCapture(event.pointerId); from = to = binAt(event); mark(); },
    onpointermove: (event) => { if (from !== null && event.buttons) { to = binAt(event); mark(); } },
    onpointerup: () => { if (from !== null) apply(); },
    onpointercancel: () => { from = to = null; mark(); },
    onkeydown: (event) => {
      if (event.key === "Escape" && range) { event.preventDefault(); clear(); return; }
      if (event.key === "Enter" && from !== null) { event.preventDefault(); apply(); return; }
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      to = Math.max(0, Math.min(total.length - 1, to === null ? 0 : to + step));
      if (!event.shiftKey || from === null) from = to;
      mark();
    } }, bars);
  return h("figure", { "data-column": column },
    h("figcaption", { title: hint }, title, range ? h("button", { type: "button", title: "Clear the brush", "aria-label": `Clear the brush of ${title}`, onclick: clear }, `${edge(column, range[0], true)} to ${edge(column, range[1], false)} ×`) : spread.unknown ? h("span.quiet", {}, ` ${number(spread.unknown)} unknown`) : null),
    plot, h("div.ends", {}, h("span", {}, edge(column, edges[0], true)), column === "gain" ? h("span", {}, "0") : null, h("span", {}, edge(column, edges[edges.length - 1], false))));
}

function heading([column, title, kind, hint]) {
  const classes = kind ? `.${kind.split(" ").join(".")}` : "";
  if (UNSORTED.has(column)) return h(`th${classes}`, { scope: "col", title: hint }, title);
  const { sort, descending } = page.state;
  const here = sort === column;
  const next = here ? !descending : column !== "query";
  return h(`th${classes}`, { scope: "col", title: hint, "aria-sort": here ? (descending ? "descending" : "ascending") : "none" },
    h("button", { type: "button", "data-sort": column, onclick: () => go({ fs: `${next ? "-" : ""}${column}` }) }, title, h("i", { "aria-hidden": "true" }, here ? (descending ? " ↓" : " ↑") : "")));
}

function picture({ thumb, name }, word) {
  return thumb ? h("img", { src: thumb, alt: word || name, title: name, loading: "lazy", decoding: "async" }) : h("span.quiet", { title: "The image is no longer in the gallery" }, "gone");
}

const first = (row, image, version) => (row.targets.includes(image.id) ? h("span.right", { title: "Right" }, "✔") : h(`span.instead.${version}`, {}, picture(image, `${worded(version === "baseline" ? "Baseline" : "SSA-ME", page.run)} puts first: ${image.name}`)));

function line(row) {
  const gain = row.gain === 0 ? h("span.quiet", {}, "=") : h(`span.${row.gain > 0 ? "up" : "down"}`, {}, `${row.gain > 0 ? "▲" : "▼"} ${number(Math.abs(row.gain))}`);
  const right = (rank) => (rank <= page.state.k ? "b.hit" : "b.miss");
  const region = row.misaligned === null ? h("span.quiet", {}, "–") : row.misaligned ? h("span.down", {}, "⚠ misaligned") : h("span.up", {}, "✔ aligned");
  const inspect = () => trigger("inspect", { run: page.run.id, row: row.row });
  return h("tr", { tabindex: 0, "data-row": row.row, "aria-label": `Inspect ${row.query}: ${worded("baseline's", page.run)} rank ${row.rank_baseline}, ${worded("SSA-ME's", page.run)} ${row.rank_ssa_me}`, onclick: inspect,
    onkeydown: (event) => {
      const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      if (event.key === "Enter") inspect();
      else if (step) { event.preventDefault(); event.currentTarget[step]?.focus(); }
    } },
    h("td.query", {}, h("strong", {}, row.query), h("span.kind", {}, row.kind, row.phrase && row.phrase !== row.query ? ` · ${row.phrase}` : "")),
    h("td.image", {}, picture(row.target)),
    h("td.number", {}, h(right(row.rank_baseline), {}, number(row.rank_baseline))), h("td.number", {}, h(right(row.rank_ssa_me), {}, number(row.rank_ssa_me))), h("td.number", {}, gain),
    h("td.wide.image", {}, h("span.pair", {}, first(row, row.top_baseline, "baseline"), first(row, row.top_ssa_me, "ssa-me"))),
    h("td.number.wide", {}, row.alignment === null ? "–" : row.alignment.toFixed(2)), h("td.wide", {}, region),
    h("td.number.wide", {}, row.size === null ? "–" : `${(100 * row.size).toFixed(row.size < 0.1 ? 1 : 0)} %`), h("td.number.wide", {}, row.length));
}

function table({ rows, total, offset, limit }) {
  if (!rows.length) return h("div.none", {}, h("p", {}, "No query is left."), h("button.tool", { type: "button", onclick: () => go({ fo: "", fq: "", fb: "", ft: "", fl: "" }) }, "Show all queries"));
  const turn = (to, name, label) => h("button.turn", { type: "button", "aria-label": label, title: label, disabled: to < 0 || to >= total, onclick: () => go({ fp: String(to) }, true) }, icon(name, 17));
  return [h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, COLUMNS.map(([name, title, kind, hint]) => heading([name, worded(title, page.run), kind, worded(hint, page.run)])))), h("tbody", {}, rows.map(line)))),
    h("nav", { "aria-label": "Pages" }, h("span.quiet", {}, `${number(offset + 1)}–${number(Math.min(offset + limit, total))} of ${number(total)}`), turn(offset - limit, "previous", "Previous page"), turn(offset + limit, "next", "Next page"))];
}

function render() {
  const focus = document.activeElement;
  const held = element.contains(focus) ? ["data-sort", "data-outcome", "data-value"].map((name) => [name, focus.getAttribute(name)]).find(([, value]) => value) : null;
  const finding = element.contains(focus) && focus.classList.contains("find");
  element.replaceChildren(h("section", { "aria-label": "Failures" },
    outcomes(page), tools(page), slices(page), h("div.histograms", {}, page.histograms.map(histogram)), table(page)));
  if (held) element.querySelector(`[${held[0]}="${CSS.escape(held[1])}"]`)?.focus({ preventScroll: true });
  if (finding) { const find = element.querySelector(".find"); find.focus(); find.setSelectionRange(find.value.length, find.value.length); }
}

function empty() {
  element.replaceChildren(h("div.empty", {}, h("h2", {}, "Where does the baseline go wrong, and does SSA-ME mend it?"),
    h("p", {}, "Run the captions of this gallery on both models, or a list of your own queries. You get recall with intervals, every query's rank under both models, and what the failures have in common; a click on a query opens it.")));
}

hear(element, "failures-open", ({ run }) => { shared.parameters = {}; go({ fr: run }); });
hear(element, "failures-latest", () => { if (!page && !shared.parameters.fr && shared.latest) go({ fr: shared.latest }); });
hear(element, "failures-lasso", ({ lasso }) => { if (page) go({ fl: lasso }); });

const given = fromAddress();
empty();
if (shared.parameters.fr) go({}, true);
else if (given.fr) { shared.parameters = given; go({}, true); }
else if (shared.latest) go({ fr: shared.latest });
