// value: {allowed, jobs: [{id, kind, name, phase, wish, reason, stage, step, of, fraction, rate, left, recipe, data, start_name,
// version, made, kept, resumable, keepable, trouble}], shown: {id, name, losses: [{name, series: {stage: [[step, value]]}}], tail} | null}.
// Triggers "steer" {id, action} and "show" {id}.
const { h } = studio;
const WORDS = { waiting: "waits", running: "runs", paused: "paused", stopped: "stopped", interrupted: "interrupted", failed: "failed", done: "done" };
const SIGNS = { waiting: "◷", running: "▸", paused: "‖", stopped: "■", interrupted: "!", failed: "!", done: "✔" };
const n = (value) => value.toLocaleString("en");
const duration = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);
let tailOpen = false;

function actions(job, allowed) {
  if (!allowed.train) return null;
  const button = (text, action, hint) => h("button", { type: "button", title: hint, onclick: (e) => { e.target.disabled = true; trigger("steer", { id: job.id, action }); } }, text);
  if (job.phase === "running") return h("div.actions", {},
    job.wish ? null : button("Pause", "pause", "Saves its state and frees processor and memory; resume goes on there"),
    button(job.wish === "stop" ? "Stop at once" : "Stop", "stop", job.wish === "stop" ? "Kill it; what was saved last is kept" : "Saves a checkpoint that can be used as it is, and ends"));
  if (job.phase === "waiting") return h("div.actions", {}, button("Take out", "stop", "It stays in the list and can be put back"));
  return h("div.actions", {},
    job.resumable ? button("Resume", "resume", "Goes on where the last state was saved") : null,
    job.keepable && !job.kept ? button("Keep as a version", "keep", "The checkpoint as far as it came becomes a version") : null,
    allowed.delete ? button("Remove", "remove", "Takes the run out of the list; a version that it made stays") : null);
}

function line(job, shown) {
  const train = job.kind === "train";
  const state = job.phase === "running" && job.wish ? (job.wish === "pause" ? "is being paused …" : "is being stopped …") : WORDS[job.phase];
  const facts = train ? [job.data, job.recipe, job.start_name ? `from ${job.start_name}` : null] : ["before and after, on held-out images"];
  const now = [];
  if (train && job.step) now.push(`${job.stage} ${n(job.step)} of ${n(job.of)}`);
  if (job.phase === "running" && job.rate) now.push(`${job.rate.toFixed(job.rate < 10 ? 1 : 0)} samples/s`);
  if (job.phase === "running" && job.left !== null) now.push(`${duration(job.left)} left`);
  const bar = job.phase === "running" ? h("progress", { max: 1, "aria-label": `Progress of ${job.name}` }) : null;
  if (bar && job.fraction !== null) bar.value = job.fraction;
  return h(`li.${job.phase}${shown ? ".shown" : ""}`, {},
    h("div.line", {}, h("span.state", {}, h("i", { "aria-hidden": "true" }, SIGNS[job.phase]), state),
      train ? h("button.name", { type: "button", title: "Show its curves", "aria-pressed": String(shown), onclick: () => trigger("show", { id: job.id }) }, job.name) : h("span.name", {}, job.name), actions(job, props.value.allowed)),
    h("p.facts", {}, [...facts.filter(Boolean), ...now].join(" · ")), bar,
    job.reason ? h("p.reason", {}, job.reason) : null, job.trouble ? h("p.reason", {}, job.trouble) : null,
    job.made ? h("p.facts.good", {}, `Made the version “${job.made}”.`) : null);
}

// A small curve of one loss: blue the baseline, orange SSA-ME, grey the backbone.
function small(loss) {
  const W = 150, H = 46, all = Object.values(loss.series).flat();
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const at = ([x, y]) => `${(((x - x0) / (x1 - x0 || 1)) * (W - 4) + 2).toFixed(1)},${(H - 3 - ((y - y0) / (y1 - y0 || 1)) * (H - 6)).toFixed(1)}`;
  const lasts = Object.entries(loss.series).map(([stage, points]) => h(`span.${stage}`, {}, points[points.length - 1][1].toFixed(3)));
  return h("figure", {}, h("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${loss.name}: from ${y1.toFixed(3)} to ${y0.toFixed(3)}` },
    Object.entries(loss.series).map(([stage, points]) => points.length === 1
      ? h(`circle.${stage}`, { cx: at(points[0]).split(",")[0], cy: at(points[0]).split(",")[1], r: 2 })
      : h(`path.${stage}`, { d: `M${points.map(at).join("L")}` }))), h("figcaption", {}, loss.name, " ", lasts));
}

function render() {
  const value = props.value;
  if (!value?.jobs) return;
  const shown = value.shown;
  const was = element.querySelector("pre"), bottom = !was || was.scrollTop + was.clientHeight > was.scrollHeight - 8, top = was?.scrollTop;
  element.replaceChildren(h("section", { "aria-label": "Runs" }, h("h3", {}, "Runs"),
    value.jobs.length ? h("ul", { role: "list" }, value.jobs.map((job) => line(job, job.id === shown?.id))) : h("p.quiet", {}, "None yet. Choose data and a recipe, look at the estimate, and start. Runs go on when this page is closed, and are found again by every page; one runs at a time, the rest wait."),
    shown ? h("div.shown-run", {}, shown.losses.length ? [h("h4", {}, "Objectives of ", h("em", {}, shown.name), h("span.key", {}, h("i.baseline", {}), "Baseline", h("i.ssa-me", {}), "SSA-ME")), h("div.many", {}, shown.losses.map(small))] : null,
      shown.tail.length ? h("details", { open: tailOpen, ontoggle: (e) => (tailOpen = e.target.open) }, h("summary", {}, "What it says"), h("pre", { tabindex: 0 }, shown.tail.join("\n"))) : null) : null));
  const pre = element.querySelector("pre");
  if (pre) pre.scrollTop = bottom ? pre.scrollHeight : top;
}

watch("value", render);
render();
