// value: {id, name, threshold, least, phase: "running" | "done" | "cancelled" | "failed", message, fraction, read_only, said, removed} and, where
// done, {offset, limit, total, copies, rest: [ids of copies], far: [ids of what is below the threshold], compared, lacking, kind, groups: [{more, images: [{id, name, thumb, caption, width,
// height, cosine, far: below the threshold}]}]}, the first image of a group being the one the others are held against; null while nobody asks. Prop: removes.
// Triggers "find" {threshold}, "turn" {threshold, offset}, "cancel" {threshold}, "remove" {ids, threshold, offset} and "leave".
const { h, icon } = studio;
const picked = new Set();
let sure = false, of = null, running = null, boxes = [];

const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
const short = (name) => (name.length > 12 ? `…${name.slice(-10)}` : name);
const removable = () => props.removes && !props.value.read_only;

function tile({ far, ...image }, first) {
  const says = first ? "The largest of its group, and of equal ones the first" : `Cosine ${image.cosine.toFixed(4)} with the first of its group${far ? ", below the threshold: it is here by way of others" : ""}`;
  const box = removable() ? h("input", { type: "checkbox", checked: picked.has(image.id), "aria-label": `Choose ${image.name}` }) : null;
  box?.addEventListener("change", () => {
    if (box.checked) picked.add(image.id);
    else picked.delete(image.id);
    sure = false;
    showTools();
  });
  if (box) boxes.push([image.id, box]);
  return h(first ? "label.tile.first" : "label.tile", { title: `${image.name}\n${says}` },
    h("span.picture", {}, h("img", { src: image.thumb, alt: image.caption || image.name, loading: "lazy", decoding: "async" }), box,
      h("b", {}, first ? "first" : `${far ? "⚠ " : ""}${image.cosine.toFixed(3)}`)),
    h("span.name", {}, short(image.name)), h("span.name", {}, `${image.width} × ${image.height}`));
}

function groups({ groups: found }) {
  boxes = [];
  return h("ul.groups", {}, found.map(({ images, more }) => h("li", {}, images.map((image, at) => tile(image, at === 0)),
    more ? h("span.more", { title: "They come up once others are removed; a higher threshold makes smaller groups" }, `and ${more.toLocaleString("en")} more`) : null)));
}

function pages({ total, offset, limit, threshold }) {
  if (total <= limit) return null;
  const turn = (to, name, label) => h("button.tool", { type: "button", "aria-label": label, title: label, disabled: to < 0 || to >= total, onclick: () => trigger("turn", { threshold, offset: to }) }, icon(name, 17));
  return h("nav", { "aria-label": "Pages of groups" }, turn(offset - limit, "previous", "Previous groups"),
    h("span.number", {}, `${offset + 1}–${Math.min(offset + limit, total)} of ${count(total, "group")}`), turn(offset + limit, "next", "Next groups"));
}

// What is done with the chosen copies; it changes in place, so that a box that was ticked keeps its focus.
const tools = h("div.tools");
function showTools() {
  const { threshold, offset, total, rest = [], far = [] } = props.value;
  const less = far.filter((id) => picked.has(id));
  const act = (name, work, more = {}) => h("button", { type: "button", onclick: work, ...more }, name);
  const tick = (ids) => { picked.clear(); ids.forEach((id) => picked.add(id)); sure = false; boxes.forEach(([id, box]) => (box.checked = picked.has(id))); showTools(); };
  tools.replaceChildren(...(removable() && total ? [
    act("Select all copies", () => tick(rest), { title: `${count(rest.length, "copy", "copies")} of the first of a group, on all pages; none with ⚠` }),
    act(sure ? `Yes, remove ${picked.size.toLocaleString("en")}` : `Remove ${picked.size.toLocaleString("en")}`, () => {
      if (!sure) { sure = true; return showTools(); }
      trigger("remove", { ids: [...picked], threshold, offset });
    }, { disabled: picked.size === 0, class: sure ? "sure" : null, title: "Originals outside of the gallery stay where they are" }),
    far.length && !less.length ? act(`Also ${far.length.toLocaleString("en")} ⚠`, () => tick([...picked, ...far]), { title: "Those whose cosine with the first is below the threshold: in their group by way of others, and perhaps no copies of it" }) : null,
    less.length ? act(`Keep ${less.length.toLocaleString("en")} ⚠`, () => tick([...picked].filter((id) => !less.includes(id))), { title: "Those whose cosine with the first is below the threshold: in their group by way of others" }) : null,
    picked.size ? act("Choose none", () => tick([])) : null,
  ] : []).filter(Boolean));
}

function settings({ threshold, least, phase }) {
  const entry = h("input", { type: "number", min: least ?? 0.5, max: 1, step: 0.01, value: threshold, required: true, "aria-label": "Threshold: the least cosine of near-duplicates" });
  const find = (event) => { event.preventDefault(); trigger("find", { threshold: entry.valueAsNumber }); };
  return h("form", { onsubmit: find, title: "The cosine of SSA-ME's image vectors. A group is what such likeness links, directly or by way of others." },
    h("label", {}, "Alike from a cosine of ", entry), h("button", { type: "submit" }, phase === "cancelled" || phase === "failed" ? "Look again" : "Look"));
}

function summary({ phase, total, copies, far, compared, lacking, kind }) {
  if (phase !== "done") return null;
  const how = kind === "exact" ? "each with each" : "by the approximate index, which may miss some";
  return h("p.quiet", { role: "status" }, total ? `${count(total, "group")} with ${count(copies, "copy", "copies")}${far.length ? `, ${far.length.toLocaleString("en")} more by way of others (⚠)` : ""}; ` : "No two images are so alike; ",
    `${count(compared, "image")} compared, ${how}${lacking ? `; ${count(lacking, "image")} without vectors left out` : ""}`);
}

function renderRunning({ message, fraction, threshold }) {
  if (!running || !element.contains(running.bar)) {
    const cancel = h("button", { type: "button", onclick: () => { cancel.disabled = true; cancel.textContent = "Cancelling …"; trigger("cancel", { threshold: props.value.threshold }); } }, "Cancel");
    running = { message: h("span", { role: "status" }), bar: h("progress", { max: 1, "aria-label": "Progress" }) };
    element.replaceChildren(h("section", {}, head(props.value), h("div.line", {}, running.message, cancel), running.bar));
  }
  running.message.textContent = `${message}, for a cosine of ${threshold}`;
  if (fraction === null || fraction === undefined) running.bar.removeAttribute("value");
  else running.bar.value = fraction;
}

function head(value) {
  return h("header", {}, h("h2", {}, "Near-duplicates"), value.name ? h("span.quiet", {}, `in ${value.name}`) : null,
    value.phase === "done" ? pages(value) : null, h("button.leave", { type: "button", onclick: () => trigger("leave", {}) }, "All images"));
}

function render() {
  const value = props.value;
  if (!value) { running = of = null; picked.clear(); return element.replaceChildren(); }
  if (of !== `${value.id} ${value.threshold}` || value.removed) { of = `${value.id} ${value.threshold}`; picked.clear(); }
  sure = false;
  if (value.phase === "running") return renderRunning(value);
  running = null;
  const list = value.phase === "done" ? groups(value) : null;
  showTools();
  element.replaceChildren(h("section", { "aria-label": "Near-duplicates" }, head(value), h("div.line", {}, settings(value), summary(value)),
    value.phase === "done" ? null : h(`p.${value.phase}`, { role: "status" }, value.message),
    value.said ? h("p.said", { role: "status" }, value.said) : null, tools, list));
}

watch("value", render);
render();
