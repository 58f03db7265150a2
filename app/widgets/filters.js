// What a search asks beyond its query, in one line that opens: which two lists, conditions, alignment, near-duplicates, order,
// and what is kept by name. It knows no query and no server but what it is given.
//   const filters = studio.filters({ look, keep, recall, forget, changed, pairs, titles, duplicate, keeps })
//   filters.toggle, filters.active and filters.panel are its elements; filters.set(refining, method), filters.get() → refining,
//   filters.aligned(lists) draws the histogram of what was found.
// look() → { rankings: [{name, title, explained}], fields: {key: {value: images}}, saved: [{kind, name}] }
studio.filters = ({ look, keep, recall, forget, changed, pairs, duplicate, keeps }) => {
  const { h, icon } = studio;
  const BLANK = { rankings: [], where: [], least_alignment: null, hide_duplicates: null, sort: "score", region: null, only: "" };
  const LOW = -0.2; // where the scale of alignments begins; there it means "any"
  let refining = { ...BLANK }, method = "vector", known = null, knownOf = null;
  const id = "studio-filters-panel";

  const names = () => (refining.rankings.length ? refining.rankings : pairs[method]);
  const short = (number) => Number(number).toFixed(2);
  function change(values) {
    refining = { ...refining, ...values };
    show();
    changed();
  }

  // Which two lists
  const lists = [0, 1].map((at) => h("select", { "aria-label": `${at ? "Second" : "First"} list`, onchange: () => choose(at, lists[at].value) }));
  const explained = h("p.explained", { "aria-live": "polite" });
  function choose(at, name) {
    const now = [...names()];
    if (now[1 - at] === name) now[1 - at] = now[at]; // the same list twice says nothing: they change places
    now[at] = name;
    const pair = Object.keys(pairs).find((key) => pairs[key].join() === now.join());
    method = pair || now[1].split("+")[1] || "vector";
    change({ rankings: pair ? [] : now });
  }

  // Conditions
  const condition = h("input.condition", { type: "text", list: `${id}-fields`, placeholder: "split=test, caption~dog …", "aria-label": "Add a condition",
    title: "KEY=VALUE, KEY!=VALUE, KEY~PART of a text, KEY>=NUMBER; keys are the data set's own, and file_name, width, height, caption, subject",
    onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); add(); } }, onchange: () => suggested() && add() });
  const fields = h("datalist", { id: `${id}-fields` });
  const suggested = () => [...fields.children].some((option) => option.value === condition.value);
  function add() {
    const text = condition.value.trim();
    condition.value = "";
    if (text && !refining.where.includes(text)) change({ where: [...refining.where, text] });
  }

  // Alignment, order, near-duplicates
  const bars = h("svg.bars", { viewBox: "0 0 120 26", preserveAspectRatio: "none", role: "img", "aria-label": "How many results have which alignment" });
  const least = h("input", { type: "range", min: LOW, max: 1, step: 0.02, "aria-label": "Least alignment of a result's subject",
    oninput: () => { said.textContent = saidOf(Number(least.value)); }, onchange: () => change({ least_alignment: Number(least.value) <= LOW ? null : Number(least.value) }) });
  const said = h("output");
  const saidOf = (value) => (value <= LOW ? "any" : `≥ ${short(value)}`);
  const sort = h("select", { "aria-label": "Order of the results", onchange: () => change({ sort: sort.value }) }, h("option", { value: "score" }, "score"), h("option", { value: "alignment" }, "alignment"));
  const hide = h("input", { type: "checkbox", onchange: () => change({ hide_duplicates: hide.checked ? Number(threshold.value) : null }) });
  const threshold = h("input.count", { type: "number", min: 0.5, max: 1, step: 0.01, value: duplicate, "aria-label": "Cosine from which on two images pass for the same",
    onchange: () => hide.checked && change({ hide_duplicates: Number(threshold.value) }) });

  // What is kept
  const saved = h("select", { "aria-label": "Open a kept query or view", onchange: () => saved.value && work(() => recall(JSON.parse(saved.value))) });
  const name = h("input.name", { type: "text", maxlength: 80, placeholder: "name", "aria-label": "Keep it as" });
  const told = h("span.told", { role: "status" });
  const keeping = (kind, title, hint) => h("button", { type: "button", title: hint, onclick: () => work(async () => { await keep({ kind, name: name.value }); name.value = ""; return "Kept."; }) }, title);
  const drop = h("button", { type: "button", title: "Forget the one that is chosen", onclick: () => saved.value && work(async () => { await forget(JSON.parse(saved.value)); return "Forgotten."; }) }, "Forget");
  let latest = 0; // answers may come in another order than they were asked for: the last thing that was begun is told
  async function work(task) {
    const mine = ++latest;
    const tell = (text) => { if (mine === latest) told.textContent = text; };
    tell("");
    try {
      const done = (await task()) || "";
      tell(done);
      if (done) await learn();
    } catch (error) {
      tell(error.message);
    }
  }

  async function learn() {
    known = await look();
    knownOf = window.studioGallery;
    for (const select of lists) select.replaceChildren(...known.rankings.map((ranking) => h("option", { value: ranking.name, title: ranking.explained }, ranking.title)));
    fields.replaceChildren(...Object.entries(known.fields).flatMap(([key, values]) => Object.entries(values).map(([value, count]) => h("option", { value: `${key}=${value}` }, `${count.toLocaleString("en")} images`))));
    saved.replaceChildren(h("option", { value: "" }, known.saved.length ? "open …" : "none yet"), ...known.saved.map((one) => h("option", { value: JSON.stringify(one) }, `${one.name}${one.kind === "view" ? " (view)" : ""}`)));
    show();
  }

  const group = (title, hint, ...parts) => h("div.group", { title: hint }, h("span.what", {}, title), h("div.parts", {}, parts));
  const panel = h("div.filters", { id, hidden: true, role: "group", "aria-label": "Filters" },
    group("Compare", null, lists[0], h("span", {}, "with"), lists[1], explained),
    group("Only images with", null, condition, fields),
    group("Alignment", "cos(p, a): how well a result's subject fits its phrase. The bars count the results that are shown.", h("span.range", {}, bars, least), said, h("label", {}, "order by", sort)),
    group("Near-duplicates", "An image is hidden whose cosine with one further up is so high or higher", h("label", {}, hide, "hide, from cosine"), threshold),
    group("Kept", keeps ? null : "On a public page nothing can be kept; a link says the same search again", saved,
      keeps ? [name, keeping("query", "Keep query", "What is asked, to run it again, here or with search --saved"), keeping("view", "Keep view", "All that is shown, with the opened image"), drop] : null, told));
  const toggle = h("button.more", { type: "button", "aria-expanded": "false", "aria-controls": id, title: "Lists, conditions, alignment, near-duplicates, what is kept", onclick: () => open(panel.hidden) }, "Filters", h("i.caret", { "aria-hidden": "true" }));
  const active = h("span.active", { "aria-label": "Filters in use" });
  async function open(wanted) {
    panel.hidden = !wanted;
    toggle.setAttribute("aria-expanded", String(wanted));
    if (wanted && (known === null || knownOf !== window.studioGallery)) await work(learn);
  }

  const chip = (text, values, title) => h("button.chip", { type: "button", title: title || "Remove this filter", "aria-label": `Remove the filter ${text}`, onclick: () => change(values) }, text, icon("close", 11));
  function chips() {
    const { where, least_alignment: low, hide_duplicates: cosine, sort: order, region } = refining;
    return [
      ...(refining.rankings.length ? [chip(refining.rankings.join(" / "), { rankings: [] }, "Back to both models under one ranking")] : []),
      ...(region ? [chip("a part of the image", { region: null }, `x ${region[0]}, y ${region[1]}, ${region[2]} × ${region[3]} px of the query's image`)] : []),
      ...where.map((text) => chip(text, { where: where.filter((other) => other !== text) })),
      ...(low === null ? [] : [chip(`alignment ≥ ${short(low)}`, { least_alignment: null })]),
      ...(cosine === null ? [] : [chip(`no near-duplicates ≥ ${short(cosine)}`, { hide_duplicates: null })]),
      ...(order === "score" ? [] : [chip("by alignment", { sort: "score" })]),
    ];
  }
  function show() {
    const [first, second] = names();
    lists[0].value = first;
    lists[1].value = second;
    const line = (key) => known?.rankings.find((ranking) => ranking.name === key);
    explained.replaceChildren(...[first, second].map(line).filter(Boolean).map((ranking) => h("span", {}, h("b", {}, ranking.title), `: ${ranking.explained}`)));
    least.value = refining.least_alignment ?? LOW;
    said.textContent = saidOf(Number(least.value));
    sort.value = refining.sort;
    hide.checked = refining.hide_duplicates !== null;
    if (hide.checked) threshold.value = refining.hide_duplicates;
    active.replaceChildren(...chips());
  }
  show();

  function aligned(found) {
    const bins = 24, width = 120 / bins;
    const counts = found.map((list) => {
      const row = new Array(bins).fill(0);
      for (const { subject } of list.hits) if (subject) row[Math.max(0, Math.min(bins - 1, Math.floor(((subject.score - LOW) / (1 - LOW)) * bins)))]++;
      return row;
    });
    const most = Math.max(1, ...counts.flat());
    bars.replaceChildren(...counts.flatMap((row, at) => row.map((count, bin) => count && h(`rect.${found[at].version}`, { x: bin * width + (at * width) / 2, width: width / 2 - 0.4, y: 26 - (24 * count) / most, height: (24 * count) / most })).filter(Boolean)));
  }
  return { toggle, active, panel, aligned, names, get: () => refining, method: () => method, open,
    set(next, chosen) { refining = { ...BLANK, ...next }; method = chosen; show(); } };
};
