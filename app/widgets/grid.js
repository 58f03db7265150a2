// value: {id, name, count, lacking, offset, limit, items: [{id, name, thumb, caption, width, height}]} or {empty: {title, text}}.
// Triggers "turn" {offset}, "similar" {id}, and "refresh" where images lack vectors of the model.
const { h, icon } = studio;

function pages({ count, offset, limit }) {
  if (count <= limit) return null;
  const turn = (to, name, label) => h("button.tool", { type: "button", "aria-label": label, title: label, disabled: to < 0 || to >= count, onclick: () => trigger("turn", { offset: to }) }, icon(name, 17));
  return h("nav", { "aria-label": "Pages" }, turn(offset - limit, "previous", "Previous page"),
    h("span.number", {}, `${offset + 1}–${Math.min(offset + limit, count)} of ${count.toLocaleString("en")}`), turn(offset + limit, "next", "Next page"));
}

function tile(item) {
  return h("li", {}, h("button", { type: "button", title: `${item.caption || item.name}\nSearch with this image`, "aria-label": `Search with ${item.caption || item.name}`, onclick: () => trigger("similar", { id: item.id }) },
    h("img", { src: item.thumb, alt: "", loading: "lazy", decoding: "async" })));
}

function render() {
  const value = props.value;
  if (!value) return;
  if (value.empty) return element.replaceChildren(h("div.empty", {}, h("h2", {}, value.empty.title), h("p", {}, value.empty.text)));
  element.replaceChildren(
    h("header", {}, h("h2", {}, value.name), h("span.number", {}, `${value.count.toLocaleString("en")} image${value.count === 1 ? "" : "s"}`), h("span.hint", {}, "Click one to search with it"), h("a.jump", { href: "#new-gallery" }, "New gallery ↓"), pages(value)),
    value.lacking ? h("p.lacking", {}, h("span", {}, value.lacking === value.count ? "This gallery was" : `${value.lacking.toLocaleString("en")} of these images were`, " embedded with another model; this one cannot search them yet."),
      h("button", { type: "button", onclick: () => trigger("refresh") }, "Embed again")) : "",
    h("ul", {}, value.items.map(tile)));
}

watch("value", render);
render();
