// value: {token, state: {text, image, weight, k, method, salience, gallery, against, refining}, link, query_seconds, shared, k, unwanted, lists:
// [{name, version, method, title, explained, seconds, hidden, hits: [{id, rank, score, move, name, thumb, caption, subject}]}], open: id | null} or {token, empty:
// {title, text, samples: [{id, thumb, name, caption}], arrival}}.
// Triggers "open" {id, state} and "similar" {id}. Says "open" {id, places: [{version, title, hit}], state} and "closed" to the opened
// image's widget, "found" lists and "only" to the query bar.
// Hears "conditioned" from the query bar: another salience for the image that is open.
const { h, say, hear, time, setAddress, whenSeen, copyAddress, icon } = studio;
let opened = null;
let answer = null; // the lists that are shown

const SCORE = {
  vector: "cos(q, e): cosine of the query's and the image's embedding",
  subjects: "(1 − b) · cos(q, e) + b · mean_p max_k cos(p, s_k): the image's vector, and each thing that the query states held against the image's subjects",
  rerank: "The image read again together with the query, and asked for each thing that it names, under the salience that the query conditions; for SSA-ME the mean of that and of how its subjects agree with what the query states",
};

function move(hit) {
  if (hit.move === null || hit.move === undefined) return null;
  const [first, second] = answer.lists.map((list) => list.title);
  if (hit.move === "new") return h("span.move.new", { title: `Not among the results of ${first}` }, "new");
  if (hit.move === "out") return h("span.move.out", { title: `Not among the results of ${second}` }, "out");
  if (hit.move === 0) return h("span.move.same", { title: `The same rank as in ${first}` }, "=");
  const up = hit.move > 0, places = Math.abs(hit.move);
  return h(`span.move.${up ? "up" : "down"}`, { title: `${places} place${places > 1 ? "s" : ""} ${up ? "higher" : "lower"} than in ${first}` }, `${up ? "▲" : "▼"} ${places}`);
}

function subject({ subject: found }) {
  if (!found) return null;
  const score = h("b", {}, found.score.toFixed(2).replace(/^(-?)0/, "$1"));
  const label = found.label?.replace(/^(an?|the) /i, "");
  const formula = `cos(p, a) = ${found.score.toFixed(3)}: phrase and the region that fits it best`;
  if (found.agrees === true) return h("span.subject.right", { title: `${formula}; it is annotated as ${found.label}` }, h("i.sign", {}, "✔"), h("span", {}, label), score);
  if (found.agrees === false) return h("span.subject.wrong", { title: `${formula}; it is annotated as ${found.label}, not ${found.phrase}` }, h("i.sign", {}, "⚠"), h("span", {}, label), score);
  return h("span.subject", { title: `${formula} for ${found.phrase}; the region carries no annotation` }, h("span", {}, "region"), score);
}

function words(hit, list) {
  const parts = [`${list.title}, rank ${hit.rank}`, `score ${hit.score.toFixed(3)}`, hit.caption || hit.name];
  if (hit.subject?.agrees === false) parts.push(`misaligned: ${hit.subject.label}`);
  return parts.join(", ");
}

function card(hit, list) {
  const button = h("button.hit", {
    type: "button", "data-id": hit.id, "data-list": list.name, tabindex: -1, "aria-label": words(hit, list),
    onclick: () => open(hit.id, button), onmouseenter: () => light(hit.id), onmouseleave: () => light(null), onfocus: () => light(hit.id), onblur: () => light(null),
  },
    h("span.frame", {}, h("img", { src: hit.thumb, alt: "", loading: "lazy", decoding: "async" }), h("span.rank", {}, hit.rank)),
    h("span.line", {}, h("span.score", { title: `${SCORE[list.method]} = ${hit.score.toFixed(4)}` }, hit.score.toFixed(3)), move(hit)),
    hit.subject ? h("span.line.second", {}, subject(hit)) : null);
  return h("li", {}, button);
}

const lacking = (list, at) => {
  const other = new Set(answer.lists[1 - at].hits.map((hit) => hit.id));
  return list.hits.filter((hit) => !other.has(hit.id));
};

// A list with, in its head, the switch that shows only what the other one lacks.
function column(list, at) {
  const letter = "ab"[at], alone = lacking(list, at), only = answer.state.refining.only.includes(letter);
  const hits = only ? alone : list.hits;
  return h(`section.list.${list.version}`, { "aria-label": list.title },
    h("h2", {}, h(`i.dot${list.method === "vector" ? "" : ".more"}`, { "aria-hidden": "true" }), h("span.named", { title: list.explained }, list.title),
      h("button.only", { type: "button", "aria-pressed": String(only), title: `Show only what ${answer.lists[1 - at].title} does not list`, onclick: () => choose(letter) }, `only here ${alone.length}`),
      list.hidden ? h("span.quiet", { title: "Images whose cosine with one further up is at or above the threshold" }, `${list.hidden} near-duplicate${list.hidden === 1 ? "" : "s"} hidden`) : null,
      h("span.time", { title: "Ranking the gallery; the query was embedded once for both lists before" }, time(list.seconds))),
    hits.length ? h("ol", { "data-list": list.name }, hits.map((hit) => card(hit, list)))
      : h("p.none", {}, only ? "The other list has all of these." : "No image passes the filters. Take one away, or lower a threshold."));
}

function choose(letter) {
  const { refining } = answer.state, on = refining.only.includes(letter);
  const only = [..."ab"].filter((other) => (other === letter ? !on : refining.only.includes(other))).join("");
  const link = new URLSearchParams(answer.link);
  if (only) link.set("only", only);
  else link.delete("only");
  answer = { ...answer, link: `?${link}`, state: { ...answer.state, refining: { ...refining, only } } };
  setAddress(answer.link, opened);
  say("only", only);
  render();
  mark();
  element.querySelectorAll("button.only")["ab".indexOf(letter)]?.focus();
}

function sample(item) {
  return h("li", {}, h("button", { type: "button", title: "Search with this image", "aria-label": `Search with ${item.caption || item.name}`, onclick: () => trigger("similar", { id: item.id }) },
    h("img", { src: item.thumb, alt: "", loading: "lazy", decoding: "async" })));
}

function light(id) {
  for (const node of element.querySelectorAll(".hit")) node.classList.toggle("lit", id !== null && Number(node.dataset.id) === id);
  const ranks = id === null ? [] : [...element.querySelectorAll(`.hit[data-id="${id}"]`)];
  element.querySelector(".lists")?.classList.toggle("linked", ranks.length > 0);
}

function mark() {
  for (const node of element.querySelectorAll(".hit")) {
    const here = opened !== null && Number(node.dataset.id) === opened;
    node.classList.toggle("opened", here);
    node.toggleAttribute("aria-current", here);
  }
}

function open(id, from) {
  const { lists, state } = answer;
  opened = id;
  mark();
  setAddress(null, id);
  const places = lists.map((list) => ({ version: list.version, title: list.title, hit: list.hits.find((hit) => hit.id === id) || null }));
  window.studioOpened = { id, places, state };
  say("open", { id, places, state, scroll: Boolean(from) });
  trigger("open", { id, state });
}

function close() {
  if (opened === null) return;
  const back = element.querySelector(`.hit[data-id="${opened}"]`);
  opened = window.studioOpened = null;
  mark();
  setAddress(null, null);
  say("closed");
  back?.focus({ preventScroll: true });
}

// The result next to `from` in its list, `step` places on; null at either end.
function neighbour(from, step) {
  const row = [...from.closest("ol").querySelectorAll(".hit")];
  return row[row.indexOf(from) + step] || null;
}

function perRow(from) {
  const row = [...from.closest("ol").querySelectorAll(".hit")];
  const top = row[0].getBoundingClientRect().top;
  return Math.max(1, row.filter((node) => Math.abs(node.getBoundingClientRect().top - top) < 4).length);
}

function walk(from, step) {
  const next = neighbour(from, step);
  if (!next) return;
  next.focus({ preventScroll: opened !== null });
  if (opened !== null) open(Number(next.dataset.id), null);
}

function keys(event) {
  const from = event.target.closest(".hit");
  if (!from) return;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: perRow(from), ArrowUp: -perRow(from) };
  if (event.key in steps) { event.preventDefault(); walk(from, steps[event.key]); }
}

// The results as files; the address says which search.
function exports() {
  const kinds = [["csv", "Table (CSV)"], ["json", "JSON"], ["zip", "Both, with thumbnails (zip)"]];
  const file = ([kind, name]) => h("a", { download: "", onclick: (event) => { event.currentTarget.href = `studio/results/results.${kind}${answer.link}`; menu.open = false; }, href: `studio/results/results.${kind}${answer.link}` }, name);
  const menu = h("details.export", { onkeydown: (event) => { if (event.key === "Escape" && menu.open) { event.stopPropagation(); menu.open = false; menu.firstChild.focus(); } } },
    h("summary.copy", { title: "Save both lists as a file" }, icon("save", 14), h("span", {}, "Export")), h("div.menu", {}, kinds.map(file)));
  return menu;
}

function render() {
  const value = answer || props.value;
  if (!value) return;
  if (value.empty) {
    const { title, text, samples } = value.empty;
    element.replaceChildren(h("div.empty", {}, h("h2", {}, title), h("p", {}, text)),
      samples.length ? h("ul.samples", { "aria-label": "Images of the gallery" }, samples.map(sample)) : "");
    return;
  }
  const k = value.k;
  const copy = h("button.copy", { type: "button", title: "Copy a link to this search", onclick: () => copyAddress(copy) }, icon("link", 14), h("span", {}, "Copy link"));
  element.replaceChildren(
    h("div.summary", {},
      h("span.overlap", { title: `overlap@${k} = |A ∩ B| / ${k}: the share of results that both lists have in common` },
        h("span.meter", { "aria-hidden": "true" }, h("i", { style: { width: `${(100 * value.shared) / Math.max(1, k)}%` } })),
        h("strong", {}, `${value.shared} of ${k}`), ` in both lists`),
      value.unwanted.length ? h("span.without", { title: "What is unwanted is taken off the query's vector, and off images with such a subject" }, `without ${value.unwanted.join(", ")}`) : null,
      h("span.took", {}, value.query_seconds === null ? "" : `query embedded in ${time(value.query_seconds)}`),
      exports(), copy),
    h("div.lists", { onkeydown: keys }, value.lists.map(column)));
  for (const row of element.querySelectorAll("ol")) row.querySelector(".hit").tabIndex = 0;
}

function update() {
  const value = props.value;
  // What the page shows on arrival must not replace an answer that came before it.
  if (value?.empty?.arrival && answer) { props.value = answer; return; }
  answer = value?.empty ? null : value;
  render();
  if (!value || value.empty) return;
  // A widget that comes back into the page shows the same search again and must not open its image anew.
  const fresh = window.studioToken !== value.token;
  window.studioToken = value.token;
  if (!fresh) {
    opened = window.studioOpened?.id ?? null;
    return mark();
  }
  opened = window.studioOpened = null;
  setAddress(value.link, null);
  say("found", value.lists);
  say("closed");
  if (value.open !== null && value.open !== undefined) open(value.open, null);
}

hear(element, "conditioned", (mode) => {
  if (!answer) return;
  const link = new URLSearchParams(answer.link);
  if (mode === "head") link.delete("s");
  else link.set("s", mode);
  answer = { ...answer, link: `?${link}`, state: { ...answer.state, salience: mode } };
  setAddress(answer.link, opened);
  if (opened !== null) open(opened, null);
});
// "step" and "close" come from the opened image's own buttons.
hear(element, "step", (step) => {
  const shown = document.activeElement?.closest?.(".hit");
  const from = shown && element.contains(shown) ? shown
    : element.querySelector(`.list.ssa-me .hit[data-id="${opened}"]`) || element.querySelector(`.hit[data-id="${opened}"]`);
  if (from) walk(from, step);
});
hear(element, "close", close);
document.addEventListener("keydown", (event) => {
  if (!element.isConnected || opened === null || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "Escape") close();
  else if (!typing && !event.target.closest(".hit") && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
    event.preventDefault();
    say("step", event.key === "ArrowRight" ? 1 : -1);
  }
});

whenSeen(element, () => answer && setAddress(answer.link, opened));
watch("value", update);
update();
