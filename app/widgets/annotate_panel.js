// What stands below the queue: how far everyone is, how far they agree, exports, and what the decisions would change.
//   const panel = studio.annotationPanel({ ask, state }), ask(work, sent) → answer or an error with `said`, state() → { judges }
//   panel.show({ progress, judges, name, left })
studio.annotationPanel = ({ ask, state }) => {
  const { h } = studio;
  const node = h("section.panel", { "aria-label": "Progress, agreement, exports" });
  const counts = h("dl.counts"), people = h("div.people"), agreement = h("div.agreement"), said = h("p.said", { role: "status" });
  const effect = studio.annotationEffect({ ask, state });
  const judges = h("select", { "aria-label": "Annotators an item", onchange: () => work("settings", { judges: Number(judges.value) }, ({ judges: count }) => `${count === 1 ? "Each subject is judged once." : `Each subject is judged by ${count} annotators, who do not see each other's decisions.`}`) },
    [1, 2, 3, 4, 5].map((count) => h("option", { value: count }, count === 1 ? "1 annotator" : `${count} annotators`)));

  async function work(name, sent, tells) {
    said.className = "said";
    said.textContent = "One moment …";
    try {
      said.textContent = tells(await ask(name, sent));
    } catch (error) {
      said.className = "said failed";
      said.textContent = error.said ? error.message : "The server does not answer. Try again in a moment.";
    }
  }
  function download({ url, name, count }) {
    const link = h("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    return `${count.toLocaleString("en")} subject${count === 1 ? "" : "s"} in ${name}`;
  }
  const format = (kind, title, hint) => h("button", { type: "button", title: hint, onclick: () => work("export", { format: kind }, download) }, title);

  const filling = h("p.said", { role: "status" });
  async function fill(source) {
    try {
      for (let now = (await ask("prepare", { source })).preparing; now; now = now.phase === "running" ? (await wait(), (await ask("prepare", { look: true })).preparing) : null) filling.textContent = now.message;
    } catch (error) {
      filling.textContent = error.said ? error.message : "The server does not answer. Try again in a moment.";
    }
  }
  const wait = () => new Promise((done) => setTimeout(done, 1000));

  const NAMES = { pending: "open", accepted: "accepted", fixed: "fixed", added: "added", rejected: "rejected", disputed: "disputed", skipped: "skipped" };
  function show({ progress, judges: wanted, name, left }) {
    counts.replaceChildren(...Object.entries(NAMES).filter(([status]) => progress.counts[status]).map(([status, title]) => h("div", {}, h("dt", {}, title), h("dd", {}, progress.counts[status].toLocaleString("en")))));
    const share = ([right, seen]) => `${right} of ${seen}`;
    people.replaceChildren(progress.people.length ? h("table", {},
      h("thead", {}, h("tr", {}, ["Annotator", "Decided", "Each", "Known answers"].map((title, at) => h(`th${at ? ".number" : ""}`, { scope: "col", title: at === 3 ? "Now and then a subject comes whose answer is known: right ones, of those seen" : at === 2 ? "Median of the last 50 decisions" : null }, title)))),
      h("tbody", {}, progress.people.map((person) => h("tr", {}, h("th", { scope: "row" }, person.name, person.name === name ? h("span.quiet", {}, " (you)") : ""),
        h("td.number", {}, person.count.toLocaleString("en")), h("td.number", {}, `${person.seconds.toFixed(1)} s`), h("td.number", {}, person.known ? share(person.known) : "–"))))) : h("p.quiet", {}, "Nobody has decided anything yet."),
      left > 60 ? h("p.quiet", {}, `About ${left > 5400 ? `${(left / 3600).toFixed(1)} h` : `${Math.ceil(left / 60)} min`} of work are left at your pace.`) : "");
    judges.value = String(wanted);
    const { items, alpha, iou } = progress.agreement;
    const number = (value) => (value === null ? "–" : value.toFixed(2));
    agreement.replaceChildren(items ? h("p", {}, h("span", { title: "Krippendorff's alpha of keeping and rejecting: 1 is agreement, 0 what chance gives" }, "alpha ", h("strong", {}, number(alpha))), " · ",
      h("span", { title: "Mean overlap of the regions that were kept: intersection over union" }, "overlap ", h("strong", {}, number(iou))), h("span.quiet", {}, ` · ${items.toLocaleString("en")} subject${items === 1 ? "" : "s"} judged twice or more`))
      : h("p.quiet", {}, "Known once two annotators have judged the same subjects."));
  }

  node.replaceChildren(
    h("div.block", {}, h("h3", {}, "Progress"), counts, people,
      h("div.row.more", {}, h("span.quiet", {}, "More proposals"), h("button", { type: "button", onclick: () => fill("data") }, "From the data"), h("button", { type: "button", onclick: () => fill("model") }, "By the model")), filling),
    h("div.block", {}, h("h3", {}, "Agreement"), agreement, h("label.row", {}, h("span.quiet", {}, "Each subject is judged by"), judges),
      h("h3.second", {}, "Export"), h("p.quiet", {}, "What is accepted, fixed or added; the choices above the image apply."),
      h("div.formats", {}, format("imagefolder", "ImageFolder", "A zip of the images with metadata.jsonl: what training and evaluation read"), format("coco", "COCO JSON", "Categories, boxes, masks as RLE, the phrase as caption"), format("csv", "CSV", "A row a subject")), said),
    h("div.block.wide", {}, effect.node));
  return { node, show };
};

// "What would this change?": alignment and rank before and after, for the queries that are asked.
studio.annotationEffect = ({ ask }) => {
  const { h } = studio;
  const query = h("input", { type: "text", placeholder: "a query; empty: the examples and the last search", "aria-label": "Query", maxlength: 500 });
  const result = h("div.effect");
  const go = h("button", {}, "Re-score");
  const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : "±"}${Math.abs(value).toFixed(3)}`;

  async function run(event) {
    event.preventDefault();
    go.disabled = true;
    result.replaceChildren(h("p.quiet", { role: "status" }, "The judged images are embedded again with your regions …"));
    try {
      show(await ask("effect", { query: query.value.trim(), last: new URLSearchParams(location.search).get("q") || "" }));
    } catch (error) {
      result.replaceChildren(h("p.failed", { role: "alert" }, error.said ? error.message : "The server does not answer. Try again in a moment."));
    } finally {
      go.disabled = false;
    }
  }
  function rank({ before, after }) {
    const by = before - after;
    return [`#${before} → `, h("strong", {}, `#${after}`), by ? h(by > 0 ? "i.up" : "i.down", {}, ` ${by > 0 ? "▲" : "▼"} ${Math.abs(by)}`) : ""];
  }
  function row(version, change, first, span) {
    return h("tr", {}, first, h("td", {}, h(`i.dot.${version}`, { "aria-hidden": "true" }), version === "baseline" ? "Baseline" : "SSA-ME"),
      h("td.number", {}, `${change.alignment.before.toFixed(3)} → `, h("strong", {}, change.alignment.after.toFixed(3)), h("span.quiet", {}, ` ${signed(change.alignment.after - change.alignment.before)}`)),
      h("td.number", {}, rank(change.rank)), h("td.number", {}, rank(change.subjects)));
  }
  function show({ queries, images, left_out }) {
    result.replaceChildren(h("p.quiet", {}, `${images} image${images === 1 ? "" : "s"} embedded again with the subjects as they are judged${left_out ? `; ${left_out} more were left out` : ""}. The gallery itself stays as it is.`),
      ...queries.map(({ query: text, changes }) => h("div.query", {}, h("h4", {}, text), changes.length ? h("table", {},
        h("thead", {}, h("tr", {}, ["Image", "Model", "Alignment", "Rank", "Rank + subjects"].map((title, at) => h(`th${at > 1 ? ".number" : ""}`, { scope: "col", title: at === 2 ? "What the query states, each held against the image's regions: mean_p max_k cos(p, s_k)" : null }, title)))),
        h("tbody", {}, changes.map(({ thumb, name, phrases, versions }) => Object.entries(versions).map(([version, change], at) => row(version, change,
          at ? null : h("th", { scope: "rowgroup", rowspan: Object.keys(versions).length }, h("div.what", {}, h("img", { src: thumb, alt: "" }), h("span", {}, phrases.join(", ") || name))), at))))) : h("p.quiet", {}, "No judged image is concerned."))));
  }
  const node = h("div.change", {}, h("h3", {}, "What would this change?"),
    h("form.row", { onsubmit: run }, query, go), result);
  return { node };
};

// What orders, statuses, sources and verdicts are called.
studio.annotationWords = {
  ORDERS: { uncertainty: "most uncertain first", misalignment: "most misaligned first", disagreement: "models disagree first", random: "in random order", images: "image by image" },
  STATUSES: { "": "open subjects", accepted: "accepted", fixed: "fixed", added: "added", rejected: "rejected", disputed: "disputed", skipped: "skipped" },
  SOURCES: { "": "from anywhere", data: "from the data", model: "by the model", human: "by annotators", none: "nothing found" },
  DONE: { accept: "accepted", fix: "fixed", add: "added", reject: "rejected", skip: "skipped" },
  MARKS: { accepted: "✔", fixed: "✎", added: "+", rejected: "✘", skipped: "↷", disputed: "?" },
  // What there is to say about a subject that is judged; `adding`: about a new one; `nothing`: that nothing was proposed.
  about(subject, adding, nothing) {
    const { DONE } = studio.annotationWords, facts = [];
    if (adding) return ["Draw its region, name it, and add it."];
    if (nothing) {
      facts.push("Nothing was proposed here. Draw a subject and name it, say that nothing is here, or skip.");
      if (subject.verdict) facts.push(subject.verdict === "reject" ? "you said that nothing is here" : `you ${DONE[subject.verdict]} it`);
      else if (subject.status === "rejected") facts.push("somebody said that nothing is here");
      return facts;
    }
    facts.push({ data: "proposed by the data", model: "proposed by the model", human: "added by an annotator", none: "added where nothing was proposed" }[subject.source]);
    if (subject.margin !== null) facts.push(subject.margin < 0 ? `another region fits better by ${(-subject.margin).toFixed(2)}` : `fits better than any other region by ${subject.margin.toFixed(2)}`);
    if (subject.verdict) facts.push(`you ${DONE[subject.verdict]} it`);
    else if (subject.status && subject.status !== "pending") facts.push(subject.status);
    return facts;
  },
};

// The dialog that lists all keys.
studio.annotationKeys = () => {
  const { h, icon } = studio;
  const KEYS = [
    ["A, Enter", "accept"], ["F", "fix; again: save the fix"], ["R, X", "reject"], ["S", "skip"],
    ["1 … 9", "choose among the image's subjects"], ["J, K", "next, previous, without a decision"], ["N", "add a subject"], ["T", "edit the phrase"],
    ["B, P, E", "box, brush, eraser"], ["[ ]", "smaller, larger brush"], ["G", "snap to edges, from the box or the strokes"], ["Delete", "no mask, back to the box"],
    ["← → ↑ ↓", "nudge by one pixel, with Shift by ten, with Alt resize"], ["+ − 0", "zoom in, out, fit; Ctrl and wheel at the pointer, middle button to move"], ["Shift and drag", "draw a new box inside of the old one"],
    ["H", "hide or show all overlays"], ["Ctrl Z, Ctrl Shift Z", "undo, redo: of edits, then of decisions"], ["Esc", "back: out of the drag, the tool, the change"], ["?", "these keys"],
  ];
  const keysDialog = h("dialog.keys", { "aria-label": "All keys", onclick: (event) => event.target === keysDialog && keysDialog.close() },
    h("div.body", {}, h("button.tool.close", { type: "button", "aria-label": "Close", onclick: () => keysDialog.close() }, icon("close", 16)), h("h2", {}, "Keys"),
      h("dl", {}, KEYS.map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)]))));
  return keysDialog;
};
