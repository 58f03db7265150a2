// The queue of proposed subjects. It asks the server itself: server.arrive, prepare, decide, go, undo, settings, snap, export,
// effect, each with one object and an answer that holds {error} where it was refused. What they hold is said in app/annotating.py.
// value: {token, gallery, image} where another tab asks for an image, else {}.
// A decision is saved before the next item is shown; the next one, and its picture, are here by then.
const { h, icon, time } = studio;
const stored = (key) => { try { return localStorage.getItem(`studio-annotate-${key}`) || ""; } catch { return ""; } };
const store = (key, value) => { try { value ? localStorage.setItem(`studio-annotate-${key}`, value) : localStorage.removeItem(`studio-annotate-${key}`); } catch { /* private mode keeps nothing */ } };
const fresh = () => (crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(36).slice(2)}`);

let gallery = null, name = stored("name"), order = stored("order") || "uncertainty", filters = {};
let item = null, ahead = null, progress = null, judges = 1;
let began = 0, busy = false, adding = false, moved = []; // moved: items that were visited, for "previous"
let passed = [], pending = null; // pending: what could not be saved yet

const editor = studio.regions({ onchange: edited, onchoose: choose });

const { ORDERS, STATUSES, SOURCES, DONE, MARKS, about } = studio.annotationWords;

// Parts that stay while items come and go.
const part = {
  state: h("span.save", { role: "status" }), bar: h("i"), share: h("span.number"), who: h("span.who"), trouble: h("p.trouble", { role: "alert", hidden: true }),
  phrase: h("input.phrase", { type: "text", "aria-label": "Phrase of the subject", maxlength: 200, spellcheck: "true" }), about: h("p.about"), list: h("ol.subjects"),
  caption: h("p.caption"), keep: null, fix: null, reject: null, people: null,
};
const panel = studio.annotationPanel({ ask, state: () => ({ judges }) });
const tell = (sent) => ({ gallery, name, order, filters, passed, ...sent });

async function ask(work, sent) {
  const answer = await server[work](tell(sent));
  if (answer.judges) judges = answer.judges;
  if (answer.user) { name = answer.user; part.who.classList.add("fixed"); }
  if (answer.error) throw Object.assign(new Error(answer.error), { said: true, closed: answer.closed });
  return answer;
}
const words = (error) => (error.said ? error.message : "The server does not answer. It is tried again in a moment; nothing is lost.");
function warn(text) {
  part.trouble.hidden = !text;
  part.trouble.textContent = text || "";
}
function saved(state, text) {
  part.state.className = `save ${state}`;
  part.state.textContent = text;
}

// Arriving: at the image that another tab asks for, else where the annotator was.
let wanted = null, heard = ""; // {gallery, image}, as the board's value named it
let arrivals = 0; // each arrival overtakes what was awaited before it
const still = () => { const at = arrivals; return () => element.isConnected && at === arrivals; };
const begin = studio.annotationBegin({ element, ask, words, arrive, still, queue: () => { wanted = null; arrive(); }, left: () => { item = null; },
  named: (given) => { name = given; store("name", name); if (name) arrive(); } });

function called() {
  const { token, gallery: where, image } = props.value || {};
  if (!token || token === heard) return false;
  heard = token;
  wanted = { gallery: where, image };
  filters = {};
  return true;
}

async function arrive() {
  arrivals += 1;
  const here = still();
  gallery = wanted?.gallery || document.querySelector("#gallery-switch")?.value || null;
  let answer;
  try {
    answer = await ask("arrive", wanted ? { image: wanted.image } : {});
  } catch (error) {
    if (!here()) return;
    if (error.closed) return begin.message("Annotating is switched off here", words(error));
    if (wanted && error.said) return begin.message("This image cannot be annotated", words(error), begin.back());
    begin.message("Nothing to annotate yet", words(error));
    setTimeout(() => here() && arrive(), 2000);
    return;
  }
  if (!here()) return;
  gallery = answer.gallery;
  if (answer.preparing) return begin.preparing(answer.preparing);
  if (answer.empty) return begin.choose(answer);
  if (answer.nameless) return begin.introduce();
  if (answer.unproposed) return begin.unproposed(answer.unproposed);
  wanted = null;
  judges = answer.judges;
  progress = answer.progress;
  passed = [];
  moved = [];
  frame();
  receive(answer);
}

// The page of an item.
function button(what, title, key, work, kind = "") {
  return h(`button.act${kind}`, { type: "button", title: `${title} (${key})`, "aria-keyshortcuts": key, onclick: work }, h("span", {}, what), h("kbd", { "aria-hidden": "true" }, key));
}

function frame() {
  part.keep = button("Accept", "The phrase names what the region shows", "A", () => decide("accept"), ".accept");
  part.fix = button("Fix", "Draw the region anew, or change the phrase", "F", fix, ".fix");
  part.reject = button("Reject", "No such subject there", "R", () => decide("reject"), ".reject");
  const choice = (values, chosen, change, label) => {
    const select = h("select", { "aria-label": label, onchange: () => change(select.value) }, Object.entries(values).map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
    return select;
  };
  part.people = choice({}, "", (annotator) => filter({ annotator }), "Who judged it");
  const search = h("input", { type: "search", placeholder: "phrase …", "aria-label": "Only phrases with", value: filters.phrase || "", onchange: () => filter({ phrase: search.value }) });
  const tool = (kind, label, key, work) => h("button.tool", { type: "button", "data-tool": kind, title: `${label} (${key})`, onclick: work }, label, h("kbd", { "aria-hidden": "true" }, key));
  element.replaceChildren(h("div.annotate", {},
    h("header.top", {},
      h("div.queue", {}, choice(STATUSES, filters.status || "", (status) => filter({ status }), "Which subjects"), choice(ORDERS, order, reorder, "Order of the queue"), choice(SOURCES, filters.source || "", (source) => filter({ source }), "Who proposed it"), part.people, search),
      h("div.meter", { title: "Subjects that are settled, of all" }, h("span.track", {}, part.bar), part.share),
      part.state, part.who,
      h("button.tool.help", { type: "button", title: "All keys (?)", "aria-label": "All keys", onclick: () => keysDialog.showModal() }, "?")),
    part.trouble,
    h("div.desk", {},
      h("div.stage", {}, editor.node,
        h("div.tools", { role: "toolbar", "aria-label": "Region" },
          tool("box", "Box", "B", () => use("box")), tool("brush", "Brush", "P", () => use("brush")), tool("eraser", "Eraser", "E", () => use("eraser")),
          tool("", "Snap to edges", "G", snap), tool("", "No mask", "Del", () => editor.clear()),
          tool("", "Hide", "H", hide), tool("", "Undo", "Ctrl Z", () => undo(false)), tool("", "Redo", "Ctrl ⇧ Z", () => undo(true)))),
      h("aside.side", {},
        h("div.question", {}, part.phrase, part.about),
        h("div.verdicts", {}, part.keep, part.fix, part.reject, button("Skip", "Leave it to somebody else", "S", () => decide("skip"))),
        h("div.steps", {}, h("button.tool", { type: "button", title: "Previous (K)", onclick: previous }, icon("previous", 15), "Previous"), h("button.tool", { type: "button", title: "Next, without a decision (J)", onclick: next }, "Next", icon("next", 15)),
          h("button.tool", { type: "button", title: "Add a subject that nobody proposed (N)", onclick: add }, "+ Subject")),
        part.list, part.caption)),
    panel.node, keysDialog));
  part.phrase.onchange = () => { editor.name(part.phrase.value.trim()); };
  part.phrase.onkeydown = (event) => { if (event.key === "Enter") { editor.name(part.phrase.value.trim()); part.phrase.blur(); event.preventDefault(); } };
  part.who.replaceChildren(h("strong", {}, name), part.who.classList.contains("fixed") ? "" : h("button.link", { type: "button", onclick: () => { store("name", ""); name = ""; begin.introduce(); } }, "change"));
  saved("", "");
}

function receive(answer) {
  if (answer.progress) progress = answer.progress;
  ahead = answer.ahead || null;
  if (ahead) new Image().src = ahead.url;
  measure();
  if (!answer.item) return finished();
  show(answer.item);
}

function finished() {
  item = null;
  const narrowed = filters.phrase || filters.status || filters.source || filters.annotator;
  part.about.textContent = "";
  part.list.replaceChildren();
  part.caption.textContent = "";
  part.phrase.value = "";
  element.querySelector(".desk")?.classList.add("through");
  warn("");
  const desk = element.querySelector(".desk");
  desk?.querySelector(".through-note")?.remove();
  desk?.prepend(h("div.empty.through-note", {}, h("h2", {}, narrowed ? "Nothing left that passes the filter" : passed.length ? "Only what you passed is left" : "All subjects are judged"),
    h("p", {}, filters.annotator === name ? "What you judged yourself does not come again; it can be exported below." : narrowed ? "Choose other subjects above." : "Thank you. The results can be exported below; undo goes back."),
    passed.length ? h("button.main", { type: "button", onclick: () => { passed = []; step("go", { item: null }); } }, "Go through those") : ""));
}

function show(given) {
  item = given;
  adding = false;
  began = performance.now();
  element.querySelector(".through-note")?.remove();
  element.querySelector(".desk")?.classList.remove("through");
  const kept = drafted();
  editor.show(item, item.subjects, item.current, kept);
  if (kept) saved("open", "Your unsaved change is back");
  use("box");
  if (nothing()) editor.touch(true);
  describe();
  warn("");
  editor.node.querySelector("canvas").focus({ preventScroll: true });
}

// Changes that were not saved yet survive a reload and a look at another subject: by gallery and item.
function drafts() {
  try { return JSON.parse(stored("drafts") || "{}"); } catch { return {}; }
}
const drafted = () => drafts()[`${gallery}/${item.id}`] || null;
function keepDraft(id, subject) {
  const all = drafts();
  delete all[`${gallery}/${id}`];
  const kept = Object.entries(subject ? { ...all, [`${gallery}/${id}`]: subject } : all).slice(-20);
  store("drafts", kept.length ? JSON.stringify(Object.fromEntries(kept)) : "");
}

const subjectNow = () => item.subjects[item.current];
// Whether the item only says that nothing was proposed in its image.
const nothing = () => !adding && subjectNow().source === "none" && !subjectNow().bbox;

function describe() {
  const subject = adding ? null : subjectNow();
  const region = editor.region();
  part.phrase.value = region.phrase;
  const changed = editor.changed(), adds = adding || nothing();
  part.phrase.placeholder = adds ? "What is it?" : "";
  part.keep.hidden = adds || changed;
  part.fix.firstChild.textContent = adds ? "Add" : changed ? "Save fix" : "Fix";
  part.fix.classList.toggle("ready", adds || changed);
  part.reject.firstChild.textContent = nothing() ? "Nothing here" : "Reject";
  part.reject.title = nothing() ? "There is no subject in this image (R)" : "No such subject there (R)";
  part.about.textContent = about(subject, adding, nothing()).join(" · ");
  part.list.replaceChildren(...item.subjects.map(entry));
  part.list.classList.toggle("many", item.subjects.length > 12);
  part.caption.textContent = item.captions[0] ? `“${item.captions[0]}”` : item.name;
  for (const node of element.querySelectorAll("[data-tool]")) node.setAttribute("aria-pressed", String(node.dataset.tool !== "" && node.dataset.tool === editor.tool()));
}

function entry(subject, index) {
  const status = subject.verdict ? DONE[subject.verdict] : subject.status, chosen = index === item.current && !adding;
  return h("li", {}, h(`button${chosen ? ".chosen" : ""}`, { type: "button", "aria-current": chosen ? "true" : null, onclick: () => choose(index) },
    h("kbd", {}, index + 1), h("span", {}, subject.phrase || "nothing was proposed"), MARKS[status] ? h(`i.${status}`, { title: status }, `${MARKS[status]} ${status}`) : null));
}

function edited() {
  if (!item) return;
  describe();
  const changed = editor.changed();
  if (!adding) keepDraft(item.id, changed ? editor.region() : null);
  saved(changed ? "open" : "", changed ? "Change not saved yet" : "");
}

function measure() {
  if (!progress) return;
  const { done, total } = progress, mine = progress.people.find((person) => person.name === name);
  part.bar.style.width = `${total ? (100 * done) / total : 0}%`;
  const left = (total - done) * (mine?.seconds || 0);
  part.share.textContent = `${done.toLocaleString("en")} of ${total.toLocaleString("en")}`;
  part.share.title = mine ? `You: ${mine.count}, ${mine.seconds.toFixed(1)} s each (median)${left > 60 ? `; about ${left > 5400 ? `${(left / 3600).toFixed(1)} h` : `${Math.ceil(left / 60)} min`} left at your pace` : ""}` : "";
  panel.show({ progress, judges, name, left });
  people();
}

// The annotators to choose from: whoever has judged something by now.
function people() {
  const names = [...new Set([...progress.people.map((person) => person.name), filters.annotator].filter(Boolean))].sort();
  part.people.hidden = !names.length;
  if (part.people.options.length === names.length + 1 && names.every((one, at) => part.people.options[at + 1].value === one)) return;
  part.people.replaceChildren(h("option", { value: "" }, "any annotator"), ...names.map((value) => h("option", { value, selected: value === filters.annotator }, `judged by ${value}`)));
}

// Deciding.
function decide(verdict) {
  if (!item || busy || editor.dragging()) return;
  if (adding && verdict !== "fix") return;
  if (verdict === "accept" && editor.changed()) verdict = "fix";
  if (verdict === "accept" && nothing()) verdict = "reject"; // what is agreed to is that nothing is there
  const sent = { item: item.id, adds: adding, verdict: adding ? "add" : verdict, seconds: (performance.now() - began) / 1000, token: fresh() };
  if (verdict === "fix") {
    sent.subject = editor.region();
    if (!sent.subject.phrase) { part.phrase.focus(); return warn("The subject has no phrase. Name it."); }
    if (!sent.subject.bbox) return warn("The subject has no region. Draw a box, or paint a mask.");
  }
  step("decide", sent);
}

function fix() {
  if (!item) return;
  if (adding || editor.changed()) return decide("fix");
  editor.touch(true);
  use("box");
  warn("");
  saved("open", nothing() ? "Draw a box around the subject, and name it" : "Draw a box around it, move or resize the one that is there, or change the phrase");
}

// Ask for a step; what cannot be saved for want of a connection is tried again until it is.
// `here`: whether the board is still where it was asked; what is saved later is saved, but nothing else is shown for it.
async function step(work, asked, here = still()) {
  if (busy) return;
  busy = true;
  const sent = { gallery, name, ...asked };
  pending = null; // whatever waited to be tried again is overtaken by this
  const from = item && { id: item.id };
  if (work !== "go") saved("busy", "Saving …");
  element.querySelector(".desk")?.classList.add("busy");
  try {
    const answer = await ask(work, sent);
    if (!here()) return;
    if (work !== "go") {
      if (from && !sent.adds) keepDraft(from.id, null);
      saved("done", `Saved ${new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })}`);
    }
    if (from && answer.item?.id !== from.id) moved = [...moved.filter((id) => id !== from.id), from.id].slice(-200);
    receive({ ahead, ...answer });
  } catch (error) {
    if (here() || error.said) warn(words(error));
    if (work !== "go") saved("failed", error.said ? "Not saved" : "Not saved yet");
    if (!error.said) {
      const again = pending = () => step(work, sent, here);
      setTimeout(() => { if (element.isConnected && pending === again) again(); }, 2500);
    }
  } finally {
    busy = false;
    element.querySelector(".desk")?.classList.remove("busy");
  }
}

const undo = (redo) => {
  if (redo ? editor.redo() : editor.undo()) return;
  step("undo", { redo, token: fresh() });
};
function next() {
  if (!item) return;
  if (!passed.includes(item.id)) passed.push(item.id);
  step("go", { item: null });
}
function previous() {
  const back = moved.pop();
  if (back !== undefined) step("go", { item: back });
}
function choose(index) {
  if (!item || index < 0 || index >= item.subjects.length) return;
  if (index === item.current && !adding) return;
  show({ ...item, id: item.subjects[index].id, current: index });
  ask("go", { item: item.id }).catch((error) => warn(words(error))); // takes the lease, and is where a reload returns to
}
function add() {
  if (!item) return;
  if (nothing()) return fix();
  adding = true;
  began = performance.now();
  editor.show(item, item.subjects, -1);
  editor.touch(true);
  use("box");
  describe();
  saved("open", "Draw a box around the new subject");
}
function use(tool) {
  editor.use(tool);
  if (tool !== "box") editor.touch(true);
  if (item) describe();
}
async function snap() {
  if (!item || busy) return;
  busy = true;
  saved("busy", "Snapping …");
  try {
    editor.take((await ask("snap", { item: item.id, ...editor.seeds() })).mask);
    saved("open", "Change not saved yet");
    warn("");
  } catch (error) {
    saved("", "");
    warn(words(error));
  } finally {
    busy = false;
  }
}
function hide() {
  editor.hide(!editor.hidden());
}
function back() {
  if (editor.dragging()) return editor.cancel();
  if (editor.tool() !== "box") return use("box");
  if (adding || editor.changed()) { keepDraft(item.id, null); saved("", ""); return show(item); }
  editor.touch(false);
  warn("");
}
function filter(change) {
  filters = Object.fromEntries(Object.entries({ ...filters, ...change }).filter(([, value]) => value));
  passed = [];
  step("go", { item: null });
}
function reorder(value) {
  order = value;
  store("order", value);
  step("go", { item: null });
}

// Keys.
const keysDialog = studio.annotationKeys();
const SIMPLE = { a: () => decide("accept"), Enter: () => decide("accept"), f: fix, r: () => decide("reject"), x: () => decide("reject"), s: () => decide("skip"), j: next, k: previous, PageDown: next, PageUp: previous,
  n: add, t: () => part.phrase.select(), b: () => use("box"), p: () => use("brush"), e: () => use("eraser"), "[": () => editor.size(0.8), "]": () => editor.size(1.25), g: snap, Delete: () => editor.clear(), Backspace: () => editor.clear(),
  h: hide, Escape: back, "?": () => keysDialog.showModal(), "+": () => editor.zoom(1.4), "=": () => editor.zoom(1.4), "-": () => editor.zoom(1 / 1.4), 0: () => editor.zoom(0) };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function keys(event) {
  if (!element.isConnected) return window.removeEventListener("keydown", keys, true);
  if (!element.querySelector(".annotate") || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (typing) {
    if (event.key === "Escape" && element.contains(typing)) { part.phrase.value = item ? editor.region().phrase : ""; typing.blur(); event.stopImmediatePropagation(); }
    return;
  }
  if (event.target.closest?.("button, a, summary") && event.key === "Enter") return;
  const taken = pressed(event);
  if (taken) { event.preventDefault(); event.stopImmediatePropagation(); }
}
function pressed(event) {
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() === "z") { undo(event.shiftKey); return true; }
    if (event.key.toLowerCase() === "y") { undo(true); return true; }
    return false;
  }
  if (event.key in ARROWS) {
    const by = event.shiftKey ? 10 : 1;
    if (item) editor.nudge(ARROWS[event.key][0] * by, ARROWS[event.key][1] * by, event.altKey);
    return true;
  }
  if (event.altKey) return false;
  if (/^[1-9]$/.test(event.key)) { choose(Number(event.key) - 1); return true; }
  const work = SIMPLE[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!work || (event.repeat && event.key !== "[" && event.key !== "]")) return Boolean(work);
  work();
  return true;
}

window.addEventListener("keydown", keys, true);
document.addEventListener("change", function switched(event) {
  if (!element.isConnected) return document.removeEventListener("change", switched);
  if (event.target.id === "gallery-switch") { item = wanted = null; filters = {}; arrive(); }
});
watch("value", () => called() && arrive());
called();
arrive();
