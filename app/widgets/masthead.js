// value: {galleries: [{id, name, count}], current, opponents: [{id, name}], against, model: {…} | null, starting: {phase, message,
// fraction}}. Triggers "switch" {gallery, against}. Hears "versions" from the Train tab: [{id, name}] to
// compare with; and "counted" from the Gallery tab: {id, count}. The value is only ever set by the server.
const { h, hear, icon } = studio;

function millions(count) {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)} B` : count >= 1e5 ? `${(count / 1e6).toFixed(1)} M` : `${count}`;
}

function gallerySwitch({ galleries, current }) {
  if (!galleries.length) return null;
  const options = galleries.map(({ id, name, count }) =>
    h("option", { value: id, selected: id === current }, `${name} (${(counts[id] ?? count).toLocaleString("en")})`));
  const select = h("select", { id: "gallery-switch", "aria-label": "Gallery", onchange: () => trigger("switch", { gallery: select.value, against: props.value.against }) }, options);
  return h("label.gallery", {}, h("span.quiet", {}, "Gallery"), select);
}

// Who stands in the baseline's place; nothing while there is one version of the model alone.
function opponentSwitch({ current, opponents, against }) {
  const known = versions ?? opponents;
  if (!known.length) return null;
  const options = [["", "against its baseline"], ...known.map(({ id, name }) => [id, `against ${name}`])].map(([id, name]) => h("option", { value: id, selected: id === (against || "") }, name));
  const select = h("select", { id: "opponent-switch", "aria-label": "Compare SSA-ME with", title: "Who answers beside SSA-ME: its own baseline, or SSA-ME of another version of the model", onchange: () => trigger("switch", { gallery: current, against: select.value || null }) }, options);
  return h("label.gallery.opponent", {}, h("span.quiet", {}, "SSA-ME"), select);
}

function modelFacts(model) {
  const trained = (version) => `${model.fingerprints[version]} (${model.trained[version] ? "trained adapter" : version === "baseline" ? "as is" : "training-free"})`;
  const rows = [
    ["Model", `${model.name} · ${model.family}`],
    ["Checkpoint", model.checkpoint],
    ["Size", `${millions(model.parameters)} parameters, ${model.dimension} dimensions`],
    ["Runs on", `${model.device} in ${model.precision}, because ${model.reason}`],
    ["Baseline", trained("baseline")],
    ["SSA-ME", trained("ssa-me")],
  ];
  return h("dl.facts", {}, rows.map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
}

function modelButton({ model, starting }) {
  if (!model) {
    const failed = starting.phase === "failed";
    return h(`div.model${failed ? ".failed" : ".waiting"}`, { role: "status" }, failed ? "No model" : "The model is being loaded");
  }
  const { name, device, precision, reason } = model;
  return h("details.model", {},
    h("summary", { title: "Which model runs, where, and why" }, icon("chip", 15),
      h("span", {}, h("strong", {}, name), ` · ${device} · ${precision} `), h("span.reason.quiet", {}, `(${reason})`)),
    h("div.panel", {}, modelFacts(model)));
}

function help() {
  const keys = [
    ["Enter", "search; on a result: open it"], ["← → ↑ ↓", "walk through a list, also while an image is open"],
    ["Tab", "from one list to the other"], ["Esc", "close the opened image"], ["/", "back to the query"], ["f", "open or close the filters"], ["?", "this help"],
  ];
  const dialog = h("dialog.help", { "aria-label": "Help", onclick: (event) => event.target === dialog && dialog.close() },
    h("div.body", {},
      h("button.close", { type: "button", "aria-label": "Close the help", onclick: () => dialog.close() }, icon("close")),
      h("h2", {}, "Two models, one query"),
      h("p", {}, "The baseline and SSA-ME share one backbone and one pass over each image. SSA-ME finds the salient subjects first and rebuilds the image's features around them. ",
        "Here both answer the same query side by side, and an opened result shows where each of them looked."),
      h("h3", {}, "Keys"), h("dl.keys", {}, keys.map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])),
      h("h3", {}, "Queries"),
      h("p", {}, "A minus before a word says what is unwanted: ", h("code", {}, "red bird -flower"), ", ", h("code", {}, "street -\"parked car\""), ". In an opened image, press “More like a part” and draw a box: images with such a subject are searched for."),
      h("h3", {}, "Numbers"),
      h("p", {}, "A score is cos(q, e): the cosine of the query's and the image's embedding. Scores of two models are not comparable; ranks are. ",
        "Attention is the share of the last token's attention that falls on a part of the image, the same scale for both models."),
      h("h3", {}, "Another model"), h("p", {}, h("code", {}, "python app.py --checkpoint FOLDER"), " opens the page with any checkpoint of a vision language model, with or without adapters.")));
  return dialog;
}

function theme() {
  const dark = document.body.classList.toggle("dark");
  try { localStorage.setItem("studio-theme", dark ? "dark" : "light"); } catch { /* private mode keeps nothing */ }
}

function start({ starting }) {
  if (starting.phase === "failed") return h("p.trouble", { role: "alert" }, starting.message);
  if (starting.phase !== "running") return "";
  return h("div.start", { role: "status" }, h("span", {}, starting.message),
    h("progress", starting.fraction === null ? { "aria-label": "Progress" } : { max: 1, value: starting.fraction, "aria-label": "Progress" }));
}

const head = h("div"), dialog = help();
element.replaceChildren(head, dialog);
let counts = {}; // of galleries, as the Gallery tab last said since the value was set
let versions = null; // those to compare with, as the Train tab last said; until then the value's
let drawn = ""; // what the rest of the head shows: it stays, with its focus, while only the start goes on

function render() {
  const value = props.value;
  if (!value) return;
  window.studioGallery = value.current;
  const rest = JSON.stringify([value.galleries, counts, value.current, versions ?? value.opponents, value.against, value.model, value.starting.phase]);
  if (rest === drawn) return element.querySelector(".starting").replaceChildren(start(value));
  drawn = rest;
  const wasOpen = element.querySelector("details[open]") !== null;
  const { model } = value;
  head.replaceChildren(
    h("header.bar", {},
      h("a.brand", { href: location.pathname, title: "Start afresh" }, h("span.mark", { "aria-hidden": "true" }, h("i"), h("i")), h("strong", {}, "SSA-ME"), h("span", {}, "studio")),
      gallerySwitch(value), opponentSwitch(value), h("span.space"), modelButton(value),
      h("button.tool", { type: "button", title: "Light or dark", "aria-label": "Switch between light and dark", onclick: theme }, icon("theme")),
      h("button.tool", { type: "button", title: "Help (?)", "aria-label": "Help", onclick: () => dialog.showModal() }, "?")),
    h("div.starting", {}, start(value)),
    model && model.knows ? h("p.knows", {}, h("span", {}, model.knows), " ",
      model.name === "mini" ? h("span.how", {}, "For a real checkpoint: ", h("code", {}, "python app.py --checkpoint FOLDER")) : "") : "");
  if (wasOpen) element.querySelector("details.model")?.setAttribute("open", "");
}

try {
  const wanted = localStorage.getItem("studio-theme");
  if (wanted) document.body.classList.toggle("dark", wanted === "dark");
} catch { /* private mode keeps nothing */ }

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "?" && !typing) dialog.showModal();
});
document.addEventListener("click", (event) => {
  const open = element.querySelector("details.model[open]");
  if (open && !open.contains(event.target)) open.removeAttribute("open");
});

hear(element, "counted", ({ id, count }) => {
  counts = { ...counts, [id]: count };
  render();
});
hear(element, "versions", (others) => {
  versions = others;
  const { current, against } = props.value || {};
  if (against && !others.some(({ id }) => id === against)) trigger("switch", { gallery: current, against: null });
  render();
});
watch("value", () => { counts = {}; render(); });
render();
