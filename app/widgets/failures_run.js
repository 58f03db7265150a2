// value: {models: {version: fingerprint} | null, gallery, kinds: {id: title}, rankings: {id: title}, closed, runs: [{id, title, gallery, ranking, against: name, done}], trouble,
// job: {name, phase, message, fraction, result: {run}} | null}. Triggers "run" {kind, ranking, n, file, name}, "resume" {run}
// and "cancel". Says "failures-open" {run} to the table, and keeps in studio.failures which run a visitor finds at first.
const { h, say } = studio;
studio.failures ??= { parameters: {}, latest: null };
let chosen = { kind: "captions", ranking: "vector", n: 25, file: null };
let running = null; // the parts that change while a run goes on: they stay, so that Stop keeps its focus
let watched = false; // a run was seen going on: when it ends, its table is opened
let busy = false;

function choice(label, options, value, change, hint) {
  const select = h("select", { "aria-label": label, onchange: () => change(select.value) },
    Object.entries(options).map(([id, title]) => h("option", { value: id, selected: id === value }, title)));
  return h("label", { title: hint }, h("span", {}, label), select);
}

function extra() {
  if (chosen.kind === "binding") {
    const count = h("input.count", { type: "number", min: 1, max: 500, step: 1, value: chosen.n, "aria-label": "Queries of each kind", oninput: () => { chosen.n = Math.round(Number(count.value)) || 1; } });
    return h("label", { title: "Queries of each of the four kinds: colour, subject, background, relation. Each is ranked among twelve scenes drawn for it." }, h("span", {}, "of each kind"), count);
  }
  if (chosen.kind !== "list") return null;
  const input = h("input", { type: "file", accept: ".txt,.csv,.jsonl", hidden: true, "aria-label": "List of queries", onchange: () => { chosen.file = input.files[0] || null; render(); } });
  return h("span.file", {}, input,
    h("button", { type: "button", title: "Text: one query a line, with a tab and the image's file name where it is known. CSV or JSON lines: columns query and image; others are kept to filter by.", onclick: () => input.click() }, chosen.file ? chosen.file.name : "Choose a file …"));
}

async function run() {
  if (busy) return;
  busy = true;
  let file = null;
  try {
    if (chosen.kind === "list" && chosen.file) file = (await upload(chosen.file)).path;
    trigger("run", { kind: chosen.kind, ranking: chosen.ranking, n: chosen.n, file, name: chosen.file?.name || "" });
  } finally {
    busy = false;
  }
}

function kept({ runs }) {
  if (!runs.length) return null;
  const title = (run) => `${run.title} · ${run.gallery}${run.against ? ` · against ${run.against}` : ""}${run.ranking === "vector" ? "" : ` · + ${run.ranking}`}${run.done ? "" : " · stopped"}`;
  const select = h("select", { "aria-label": "Kept runs", onchange: () => show(runs.find((run) => run.id === select.value)) },
    h("option", { value: "" }, `Kept runs (${runs.length})`), runs.map((run) => h("option", { value: run.id }, title(run))));
  return h("label.kept", {}, select);
}

function show(run) {
  if (!run) return;
  if (run.done) say("failures-open", { run: run.id });
  else trigger("resume", { run: run.id });
}

function progress({ job }) {
  if (!job) return null;
  if (job.phase !== "running") {
    const sign = { done: "✔ ", failed: "⚠ " }[job.phase] || "";
    return h(`p.told.${job.phase}`, { role: "status" }, h("strong", {}, `${sign}${job.name}`), ` ${job.message}`);
  }
  if (!running) {
    const stop = h("button", { type: "button", onclick: () => { stop.disabled = true; stop.textContent = "Stopping …"; trigger("cancel"); } }, "Stop");
    running = { message: h("span"), bar: h("progress", { max: 1, "aria-label": "Progress" }), stop };
    running.line = h("div.running", { role: "status" }, running.message, running.bar, stop);
  }
  running.message.textContent = `${job.name}: ${job.message}`;
  if (job.fraction === null) running.bar.removeAttribute("value");
  else running.bar.value = job.fraction;
  return running.line;
}

function render() {
  const value = props.value;
  if (!value?.kinds) return;
  const active = value.job?.phase === "running";
  if (active && running && element.contains(running.line)) { progress(value); return; }
  if (!active) running = null;
  if (!(chosen.kind in value.kinds)) chosen.kind = "captions";
  element.replaceChildren(h("div.bar", {},
    choice("Queries", value.kinds, chosen.kind, (kind) => { chosen.kind = kind; render(); }, "Where the queries and their right images come from"),
    extra(),
    choice("Rank by", value.rankings, chosen.ranking, (ranking) => { chosen.ranking = ranking; }, "One vector an image, or its subject vectors as well; both models alike"),
    h("button.go", { type: "button", disabled: active, onclick: run }, "Run on both models"),
    kept(value)),
    value.closed ? h("p.told", {}, value.closed) : "",
    value.trouble ? h("p.told.failed", { role: "alert" }, value.trouble) : "",
    progress(value) || "");
}

function update() {
  const value = props.value;
  if (!value?.kinds) return;
  const { job, runs } = value;
  render();
  const here = runs.find((run) => run.done && run.gallery === value.gallery) || runs.find((run) => run.done);
  studio.failures.latest = here?.id || null;
  studio.failures.models = value.models;
  if (job?.phase === "running") watched = true;
  else if (watched && job?.phase === "done") {
    watched = false;
    say("failures-open", { run: job.result.run });
  } else if (here) say("failures-latest");
}

watch("value", update);
update();
