// value: {gallery, text, image: hash | null, id: n | null, settings, token, shown: {thumb, name, caption} | undefined,
// query_image: {url} | undefined, link, note}. Triggers "ask" after it has put what was entered into the value, and
// "annotate" {id, gallery} where the class "annotates" says so.
// Server function: images({entry, gallery, offset}) -> {items, offset, limit, count} | {error}: those to choose from.
const { h, icon, visitAddress, whenSeen, isSeen, copyAddress } = studio;
const annotates = element.closest(".annotates") !== null;
let entered = {};
let picking = null; // the images to choose from, while the chooser is open

const text = h("input.text", { type: "text", name: "q", placeholder: "The query", autocomplete: "off", spellcheck: "false", "aria-label": "Query to inspect with" });
const go = h("button.go", { type: "submit" }, "Inspect");
const picture = h("span.picture");
const chosen = h("button.chosen", { type: "button", "aria-haspopup": "true", onclick: () => (picking ? close() : pick(0)) });
const tools = h("div.tools");
const note = h("p.note", { role: "status" });
const chooser = h("div.chooser");
const form = h("form.asked", { "aria-label": "What is inspected", onsubmit: (event) => { event.preventDefault(); ask(); } },
  h("div.line", {}, chosen, h("div.field", {}, picture, text, go), tools), note, chooser);
element.replaceChildren(form);

function ask(id = entered.id) {
  const fresh = text.value !== entered.text || id !== entered.id;
  // Another query or image keeps what was set, but for regions, which belong to the image.
  const settings = { ...entered.settings, ...(id !== entered.id ? { regions: null } : {}) };
  entered = { ...entered, text: text.value, id, settings };
  form.classList.toggle("busy", fresh || !entered.link);
  close();
  props.value = { ...entered };
  trigger("ask");
}

async function pick(offset) {
  picking = { items: [], waiting: true };
  choose();
  const answer = await server.images({ entry: { ...entered, text: text.value, id: null }, gallery: document.querySelector("#gallery-switch")?.value || null, offset });
  if (!picking) return;
  picking = answer;
  choose();
  chooser.querySelector("li button")?.focus({ preventScroll: true });
}

function close() {
  picking = null;
  choose();
}

function tile(item) {
  const name = item.caption || item.name;
  return h("li", {}, h("button", { type: "button", title: name, "aria-label": `Inspect ${name}`, "aria-current": item.id === entered.id ? "true" : null, onclick: () => ask(item.id) },
    h("img", { src: item.thumb, alt: "", loading: "lazy", decoding: "async" })));
}

function choose() {
  chosen.setAttribute("aria-expanded", String(Boolean(picking)));
  if (!picking) return chooser.replaceChildren();
  const { items, offset, limit, count, waiting, error } = picking;
  const turn = (to, name, label) => h("button.tool", { type: "button", "aria-label": label, title: label, disabled: to < 0 || to >= count, onclick: () => pick(to) }, icon(name, 17));
  chooser.replaceChildren(h("section.panel", { "aria-label": "Choose an image", onkeydown: (event) => { if (event.key === "Escape") { close(); chosen.focus(); } } },
    h("header", {}, h("strong", {}, "Choose an image"), h("span.quiet", {}, waiting ? "…" : error || (text.value.trim() || entered.image ? "SSA-ME's best for the query first" : `of ${count?.toLocaleString("en")}`)),
      count > limit ? h("nav", { "aria-label": "Pages" }, turn(offset - limit, "previous", "Previous page"), turn(offset + limit, "next", "Next page")) : null,
      h("button.tool", { type: "button", title: "Close (Esc)", "aria-label": "Close the chooser", onclick: close }, icon("close", 16))),
    h("ul", {}, (items || []).map(tile))));
}

function report() {
  if (!entered.link) return null;
  const link = (kind, title, name) => h("a", { href: `studio/report/${kind}${entered.link}`, download: "", title }, name);
  const details = h("details.save", {}, h("summary.tool", { title: "Save what is shown" }, icon("save", 15), h("span", {}, "Save")),
    h("div.panel", {}, link("inspection.html", "One page with all maps, scores, versions and the command that reproduces them", "Report (HTML)"), link("inspection.json", "The same numbers for programs", "Data (JSON)"),
      link("figure.png", "Both attentions and their difference, 300 dpi", "Figure (PNG)"), link("figure.svg", "The same with text and lines as vectors", "Figure (SVG)")));
  return details;
}

function render() {
  const { shown, query_image: image } = entered;
  chosen.replaceChildren(shown ? h("img", { src: shown.thumb, alt: "" }) : icon("image", 20),
    h("span.name", {}, h("strong", {}, shown ? shown.caption || shown.name : "Choose an image"), shown ? h("span.quiet", {}, "Choose another ▾") : h("span.quiet", {}, "of the gallery ▾")));
  picture.replaceChildren(...(image ? [h("img", { src: image.url, alt: "The query's image" }),
    h("button", { type: "button", "aria-label": "Remove the query's image", title: "Remove the query's image", onclick: () => { entered = { ...entered, image: null, link: "" }; ask(); } }, icon("close", 12))] : []));
  const copy = h("button.tool", { type: "button", title: "Copy a link to exactly this", onclick: () => copyAddress(copy) }, icon("link", 14), h("span", {}, "Copy link"));
  const annotate = h("button.tool", { type: "button", title: "Judge or draw its subjects in the Annotate tab", onclick: () => trigger("annotate", { id: entered.id, gallery: entered.gallery }) }, icon("pen", 14), h("span", {}, "Annotate"));
  tools.replaceChildren(...(entered.link ? [...(annotates ? [annotate] : []), copy, report()] : []));
  note.textContent = entered.note || "";
  note.hidden = !entered.note;
}

function update() {
  const value = props.value || {};
  entered = { text: "", image: null, id: null, settings: {}, ...value };
  form.classList.remove("busy");
  text.value = entered.text || "";
  if (entered.link && isSeen(element)) visitAddress(entered.link);
  close();
  render();
}

document.addEventListener("click", (event) => {
  const open = element.querySelector("details[open]");
  if (open && !open.contains(event.target)) open.removeAttribute("open");
});
whenSeen(element, () => entered.link && visitAddress(entered.link));
watch("value", update);
update();
