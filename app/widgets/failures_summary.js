// Hears "failures-shown" {page} from the table: the measures of the run that is open. Triggers nothing, has no value.
const { h, worded, hear } = studio;
const PERCENT = new Set(["recall@1", "recall@5", "recall@10"]);
const HINTS = {
  "recall@1": "The share of queries with a right image in the first place",
  "recall@5": "The share of queries with a right image among the first five",
  "recall@10": "The share of queries with a right image among the first ten",
  "ndcg@10": "Normalised discounted cumulative gain: Σ 1 / log2(rank + 1) over right images among the first ten, by the most there could be",
  mean_rank: "The mean rank of the best right image, ties counting against the model: lower is better",
};

const shown = (name, value) => (PERCENT.has(name) ? `${(100 * value).toFixed(1)} %` : value.toFixed(name === "mean_rank" ? 2 : 3));
const signed = (name, value) => `${value < 0 ? "−" : "+"}${(PERCENT.has(name) ? 100 * Math.abs(value) : Math.abs(value)).toFixed(PERCENT.has(name) ? 1 : name === "mean_rank" ? 2 : 3)}`;

// The interval as a line with a dot around zero, to the widest of the rows that share its unit.
function interval({ name, value, interval: [low, high] }, far, run) {
  const at = (x) => `${50 + 48 * Math.max(-1, Math.min(1, x / far))}%`;
  const better = name === "mean_rank" ? value < 0 : value > 0;
  const sure = low > 0 || high < 0;
  const word = !sure ? "no clear difference" : worded(better ? "SSA-ME is better" : "the baseline is better", run);
  return h(`span.forest${sure ? (better ? ".good" : ".bad") : ""}`, { title: `${word}: ${signed(name, value)}, 95 % interval ${signed(name, low)} to ${signed(name, high)}` },
    h("i.zero"), h("i.span", { style: { left: at(low), width: `calc(${at(high)} - ${at(low)})` } }), h("i.dot", { style: { left: at(value) } }));
}

function verdict({ name, value, interval: [low, high] }, run) {
  if (low <= 0 && high >= 0) return h("span.quiet", {}, "≈");
  const better = name === "mean_rank" ? value < 0 : value > 0;
  return h(`span.${better ? "good" : "bad"}`, { title: better ? worded("SSA-ME is better", run) : worded("The baseline is better", run) }, better ? "▲" : "▼");
}

function otherModel({ fingerprints }) {
  const models = studio.failures?.models;
  return models && Object.entries(models).some(([version, print]) => fingerprints[version] !== print);
}

function render({ run, measures }) {
  const far = (rank) => Math.max(1e-9, ...measures.filter(({ name }) => (name === "mean_rank") === rank).flatMap(({ interval: [low, high] }) => [-low, high]));
  const rows = measures.map((measure) => h("tr", {},
    h("th", { scope: "row", title: HINTS[measure.name] }, measure.name === "mean_rank" ? "mean rank" : measure.title, measure.name === "mean_rank" ? h("small", {}, " lower is better") : null),
    h("td.number", {}, shown(measure.name, measure.models.baseline)), h("td.number", {}, shown(measure.name, measure.models["ssa-me"])),
    h("td.number.gap", {}, verdict(measure, run), " ", signed(measure.name, measure.value), h("small", {}, ` [${measure.interval.map((x) => signed(measure.name, x)).join(", ")}]`)),
    h("td.picture", {}, interval(measure, far(measure.name === "mean_rank"), run))));
  const facts = [`${run.queries.toLocaleString("en")} queries`, `${run.images.toLocaleString("en")} images`, run.gallery_name, run.ranking === "vector" ? "one vector" : `+ ${run.ranking}`, `${run.seconds.toFixed(1)} s`];
  const skipped = run.skipped_count ? h("details", {}, h("summary", {}, `${run.skipped_count.toLocaleString("en")} could not be ranked`),
    h("ul", {}, run.skipped.map(([query, reason]) => h("li", {}, h("strong", {}, query), `: ${reason}`)))) : null;
  element.replaceChildren(h("section", { "aria-label": "Measures" },
    h("h2", {}, run.name, h("span.facts", {}, facts.join(" · "))),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), h("th.number.baseline", { scope: "col" }, h("i.mark"), worded("Baseline", run)), h("th.number.ssa-me", { scope: "col" }, h("i.mark"), worded("SSA-ME", run)),
      h("th.number", { scope: "col", title: worded("SSA-ME less baseline on the same queries; 95 % interval by paired bootstrap, clustered by image or scene", run) }, "Difference"), h("th.picture", { scope: "col" }))), h("tbody", {}, rows)),
    otherModel(run) ? h("p.note", {}, "Another model made this run than the one that is loaded now. Run the queries again to compare.") : null,
    run.notes.map((note) => h("p.note", {}, note)), skipped));
}

hear(element, "failures-shown", ({ page }) => render(page));
if (studio.failures?.page) render(studio.failures.page);
