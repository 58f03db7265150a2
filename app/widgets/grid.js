// value: {id, name, count, lacking, against: name of the version that is compared with, unfinished: {done, total | null} | null, offset,
// limit, read_only, said, items: [{id, name, thumb, caption, width, height}], cards: [{name, loaded, rows, dimension, kind, recall,
// megabytes}]} or {empty: {title, text}}. Props: removes, makes. Triggers "turn" {offset}, "similar" {id}, "twins" for the near-duplicates
// of the gallery, "remove" {ids, offset}, "refresh" where images lack vectors, and "resume" or "leave" where putting images in was
// interrupted. Says "counted" {id, count} to the page's head.
const { h, icon, say } = studio;

function pages({ count, offset, limit }) {
  if (count <= limit) return null;
  const turn = (to, name, label) => h("button.tool", { type: "button", "aria-label": label, title: label, disabled: to < 0 || to >= count, onclick: () => trigger("turn", { offset: to }) }, icon(name, 17));
  return h("nav", { "aria-label": "Pages" }, turn(offset - limit, "previous", "Previous page"),
    h("span.number", {}, `${offset + 1}–${Math.min(offset + limit, count)} of ${count.toLocaleString("en")}`), turn(offset + limit, "next", "Next page"));
}

// While images are chosen to be removed, a click chooses; else it searches with the image.
const picked = new Set();
let picking = false, sure = false, of = null;

function pick(id, button) {
  if (picked.has(id)) picked.delete(id);
  else picked.add(id);
  button.setAttribute("aria-pressed", String(picked.has(id)));
  sure = false;
  showTools();
}

function tile(item) {
  const named = item.caption || item.name;
  const does = picking ? `Choose ${named}` : `Search with ${named}`;
  const button = h("button", { type: "button", title: `${named}\n${picking ? "Choose it" : "Search with this image"}`, "aria-label": does, "aria-pressed": picking ? String(picked.has(item.id)) : null,
    onclick: () => (picking ? pick(item.id, button) : trigger("similar", { id: item.id })) },
    h("img", { src: item.thumb, alt: "", loading: "lazy", decoding: "async" }));
  return h("li", {}, button);
}

const tools = h("div.tools");
function showTools() {
  const value = props.value, offset = value.offset;
  const act = (name, title, work, more = {}) => h("button", { type: "button", title, onclick: work, ...more }, name);
  const change = (on) => { picking = on; sure = false; picked.clear(); render(); };
  tools.replaceChildren(...[
    act("Near-duplicates", "Images of the whole gallery that are nearly the same, in groups", () => trigger("twins", {})),
    props.removes && !value.read_only && !picking ? act("Remove …", "Choose images to remove from the gallery", () => change(true)) : null,
    picking ? act(sure ? `Yes, remove ${picked.size}` : `Remove ${picked.size}`, "Originals outside of the gallery stay where they are", () => {
      if (!sure) { sure = true; return showTools(); }
      trigger("remove", { ids: [...picked], offset });
      picking = sure = false;
      picked.clear();
    }, { disabled: picked.size === 0, class: sure ? "sure" : null }) : null,
    picking ? act("Cancel", "Remove nothing", () => change(false)) : null,
  ].filter(Boolean));
}

// How each set of vectors is searched.
function indexes({ cards }) {
  if (!cards?.length) return null;
  const how = (card) => (card.recall === null ? "exact" : `${card.kind}, recall@10 ${card.recall.toFixed(3)}`);
  const columns = ["Vectors", "Rows", "Width", "Search", "On disk"];
  const row = (card) => [card.name, card.rows.toLocaleString("en"), card.dimension, how(card), card.megabytes < 0.1 ? "< 0.1 MB" : `${card.megabytes} MB`];
  return h("details.indexes", {}, h("summary", {}, "How it is searched"), h("table", {}, h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, cards.filter((card) => card.loaded).map((card) => h("tr", {}, row(card).map((cell) => h("td", {}, cell)))))),
    cards.some((card) => !card.loaded) ? h("p.quiet", {}, `Also kept: vectors of ${cards.filter((card) => !card.loaded).length} sets of other model versions.`) : null);
}

function interrupted({ done, total }) {
  const of = total === null ? "" : ` of ${total.toLocaleString("en")}`, are = (total ?? done) === 1 ? "image is" : "images are";
  return `Putting images in was interrupted: ${done.toLocaleString("en")}${of} ${are} in.`;
}

function render() {
  const value = props.value;
  if (!value) return;
  if (value.empty) return element.replaceChildren(h("div.empty", {}, h("h2", {}, value.empty.title), h("p", {}, value.empty.text)));
  if (of !== value.id) { of = value.id; picking = sure = false; picked.clear(); }
  showTools();
  say("counted", { id: value.id, count: value.count });
  element.replaceChildren(
    h("header", {}, h("h2", {}, value.name), h("span.number", {}, `${value.count.toLocaleString("en")} image${value.count === 1 ? "" : "s"}`), h("span.hint", {}, picking ? "Click the ones to remove" : "Click one to search with it"), h("a.jump", { href: "#new-gallery" }, "New gallery ↓"), pages(value)),
    value.lacking ? h("p.lacking", {}, h("span", {}, value.lacking === value.count ? "This gallery was" : `${value.lacking.toLocaleString("en")} of these images were`, value.against ? ` not embedded with ${value.against} yet: searches beside it leave them out.` : " embedded with another model; this one cannot search them yet."),
      h("button", { type: "button", onclick: () => trigger("refresh") }, "Embed again")) : "",
    value.unfinished ? h("p.lacking", { role: "status" }, h("span", {}, interrupted(value.unfinished)),
      props.makes ? h("button", { type: "button", title: "Put in what is left", onclick: () => trigger("resume") }, "Go on") : null,
      props.makes ? h("button", { type: "button", title: "Keep the images that are in, and forget the rest", onclick: () => trigger("leave") }, "Leave it at that") : null) : "",
    tools, value.said ? h("p.said", { role: "status" }, value.said) : "",
    h("ul", {}, value.items.map(tile)), indexes(value) || "");
}

watch("value", render);
render();
