// value: {closed}. Server functions, each with {run, row, voter, …}: failures_ballot -> {query, kind, lists: {a, b: [{id, name, thumb}]},
// said: {phase: choice}, sides?, ranks?, tally?} | {error}; failures_vote {phase, choice} -> {said, sides?, ranks?, tally?} | {error};
// failures_maps -> {maps: {a, b: {image, size, boxes, attention, on_image}}} | {error}. Hears "failures-vote" {page, at}. Triggers nothing.
const { h, worded, hear, icon, paint, gradient, percent } = studio;
const CHOICES = [["a", "A is better", "1"], ["b", "B is better", "2"], ["tie", "Tie", "3"], ["both bad", "Both bad", "4"]];
const TITLES = { baseline: "Baseline", "ssa-me": "SSA-ME" };
let page = null, at = 0, ballot = null, maps = null;
const dialog = h("dialog", { tabindex: -1, "aria-label": "Vote on two lists", onclick: (event) => event.target === dialog && dialog.close(), onkeydown: keys });
element.replaceChildren(dialog);

// A name for this visitor, made up once and kept in the browser, so that nobody votes twice on the same query.
function voter() {
  const fresh = () => [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    const kept = localStorage.getItem("studio-voter") || fresh();
    localStorage.setItem("studio-voter", kept);
    return kept;
  } catch {
    return (studio.voter ??= fresh());
  }
}

const asked = (more) => ({ run: page.run.id, row: page.rows[at].row, voter: voter(), ...more });
const phase = () => (ballot?.said?.before ? (ballot.said.after ? "done" : "after") : "before");

async function open(index) {
  at = index;
  ballot = maps = null;
  render();
  if (!dialog.open) dialog.showModal();
  const mine = index;
  const answer = await server.failures_ballot(asked()).catch(() => ({ error: "The ballot could not be loaded. Reload the page." }));
  if (mine !== at) return;
  ballot = answer;
  render();
  if (!answer.error && phase() !== "before") look();
}

async function choose(choice) {
  const when = phase();
  if (!ballot || ballot.error || when === "done") return;
  const mine = at, answer = await server.failures_vote(asked({ phase: when, choice })).catch(() => ({ error: "The vote was not kept. Try again." }));
  if (mine !== at) return;
  ballot = answer.error ? { ...ballot, trouble: answer.error } : { ...ballot, trouble: null, ...answer };
  render();
  if (!answer.error && when === "before") look();
}

async function look() {
  const mine = at, answer = await server.failures_maps(asked()).catch(() => ({ error: "The maps could not be made. Try again." }));
  if (mine !== at) return;
  maps = answer.maps || null;
  if (answer.error) ballot = { ...ballot, trouble: answer.error };
  render();
}

function keys(event) {
  const choice = CHOICES.find(([, , key]) => key === event.key);
  if (choice) { event.preventDefault(); choose(choice[0]); }
  else if (event.key === "ArrowRight") step(1);
  else if (event.key === "ArrowLeft") step(-1);
}

function step(by) {
  const next = at + by;
  if (next >= 0 && next < page.rows.length) open(next);
}

function map(side) {
  if (phase() === "before") return null;
  if (!maps) return h("div.map.ghost", { role: "status" }, h("span.quiet", {}, "Looking where it looked …"));
  const one = maps[side], high = Math.max(...maps.a.attention, ...maps.b.attention) || 1;
  const canvas = h("canvas", { "aria-hidden": "true" });
  requestAnimationFrame(() => paint(canvas, one, one.attention, { low: 0, high, scale: "share", smooth: true }));
  return h("figure.map", {}, h("div.stack", { style: { "--shape": `${one.size[0]} / ${one.size[1]}` } }, h("img", { src: one.image, alt: `The first of list ${side.toUpperCase()}` }), canvas),
    h("figcaption", {}, `Attention on its first image: ${percent(one.on_image)} on the image`));
}

function list(side) {
  const version = ballot.sides?.[side];
  const right = new Set(page.rows[at].targets);
  return h(`section.list${version ? `.${version}` : ""}`, { "aria-label": `List ${side.toUpperCase()}` },
    h("h3", {}, side.toUpperCase(), version ? h("span", {}, h("i.mark"), ` ${worded(TITLES[version], page.run)}, rank ${ballot.ranks[version]}`) : null),
    h("ol", {}, ballot.lists[side].map((hit, rank) => h("li", {}, hit.thumb ? h("img", { src: hit.thumb, alt: hit.name }) : hit.name, h("span.rank", {}, rank + 1), version && right.has(hit.id) ? h("span.ok", { title: "Right" }, "✔") : null))),
    map(side));
}

function buttons() {
  const when = phase(), said = ballot.said[when === "done" ? "after" : when];
  const ask = { before: "Which list answers the query better?", after: "And now that you see where each of them looked?", done: "Thank you." }[when];
  return h("div.ask", {}, h("p", {}, ask),
    h("div.choices", {}, CHOICES.map(([id, title, key]) => h("button", { type: "button", disabled: when === "done", "aria-pressed": String(said === id), onclick: () => choose(id) }, title, h("kbd", {}, key)))));
}

function tally() {
  if (!ballot.tally) return null;
  const line = (name, { votes, baseline, "ssa-me": ours, tie, "both bad": bad }) => h("p.tally", {}, h("b", {}, `${name}: `), `${votes} vote${votes === 1 ? "" : "s"}, ${worded("SSA-ME", page.run)} ${ours}, ${worded("baseline", page.run)} ${baseline}, tie ${tie}, both bad ${bad}`);
  return h("div", {}, ballot.tally.before.votes ? line("Before the maps", ballot.tally.before) : null, ballot.tally.after.votes ? line("After", ballot.tally.after) : null);
}

function body() {
  if (!ballot) return h("p.quiet", { role: "status" }, "Ranking …");
  if (ballot.error) return h("p.trouble", { role: "alert" }, ballot.error);
  return [h("div.lists", {}, list("a"), list("b")),
    phase() === "before" ? null : h("div.legend", { title: "Both on one scale: the last token's attention on one image token" }, h("span", {}, "attention per token"), h("i", { style: { background: gradient("share") } })),
    ballot.trouble ? h("p.trouble", { role: "alert" }, ballot.trouble) : null, buttons(), tally()];
}

function render() {
  const row = page.rows[at];
  const turn = (by, name, label) => h("button.tool", { type: "button", "aria-label": label, title: label, disabled: at + by < 0 || at + by >= page.rows.length, onclick: () => step(by) }, icon(name, 18));
  dialog.replaceChildren(h("div.ballot", {},
    h("header", {}, h("div", {}, h("h2", {}, row.query), h("p.quiet", {}, `Query ${at + 1} of ${page.rows.length} on this page · ${row.kind}`)),
      turn(-1, "previous", "Previous query (←)"), turn(1, "next", "Next query (→)"), h("button.tool", { type: "button", "aria-label": "Close (Esc)", title: "Close (Esc)", onclick: () => dialog.close() }, icon("close", 18))),
    body(),
    h("footer", {}, "All votes on this run: ", h("a", { href: `studio/failures/${page.run.id}/votes.csv`, download: "" }, "CSV"), " · ", h("a", { href: `studio/failures/${page.run.id}/votes.json`, download: "" }, "JSON"))));
  if (dialog.open && !dialog.contains(document.activeElement)) dialog.focus();
}

hear(element, "failures-vote", (sent) => {
  if (!sent.page.rows.length) return;
  page = sent.page;
  if (props.value?.closed) {
    dialog.replaceChildren(h("div.ballot", {}, h("p", {}, props.value.closed), h("button.tool", { type: "button", onclick: () => dialog.close() }, "Close")));
    dialog.showModal();
  } else open(sent.at);
});
