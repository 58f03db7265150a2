// value: {name, phase: "running" | "done" | "cancelled" | "failed", message, fraction, result: {found, added, duplicates:
// [[name, same]], skipped: [[name, reason]], seconds, gallery}} or null. Triggers "cancel", "resume" after that or a failure, and
// "show" {gallery}.
const { h, time } = studio;
let running = null; // the parts of a job that runs: they change in place, so that Cancel keeps its focus and its clicks

function table(title, rows, columns) {
  if (!rows.length) return null;
  return h("details", { open: rows.length <= 12 }, h("summary", {}, title),
    h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))))));
}

function counts({ found, added, duplicates, skipped, seconds }) {
  const count = (number, what) => h("span", {}, h("strong", {}, number.toLocaleString("en")), ` ${what}`);
  return h("p.counts", {}, count(found, "found"), count(added, "added"), count(duplicates.length, duplicates.length === 1 ? "duplicate" : "duplicates"), count(skipped.length, "skipped"), h("span", {}, time(seconds)));
}

function renderRunning({ message, fraction }) {
  if (!running || !element.contains(running.bar)) {
    const cancel = h("button", { type: "button", onclick: () => { cancel.disabled = true; cancel.textContent = "Cancelling …"; trigger("cancel"); } }, "Cancel");
    running = { message: h("strong.message", {}), bar: h("progress", { max: 1, "aria-label": "Progress" }) };
    element.replaceChildren(h("section.running", {}, h("div.line", {}, running.message, cancel), running.bar));
  }
  running.message.textContent = message;
  if (fraction === null || fraction === undefined) running.bar.removeAttribute("value");
  else running.bar.value = fraction;
}

function render() {
  const value = props.value;
  if (value?.phase === "running") return renderRunning(value);
  running = null;
  if (!value) return element.replaceChildren();
  const { phase, message, result } = value;
  element.replaceChildren(h(`section.${phase}`, { "aria-live": "polite" },
    h("div.line", {}, h("strong.message", {}, phase === "done" ? "✔ " : phase === "failed" ? "⚠ " : "", message),
      result.gallery && (phase === "failed" || (phase === "cancelled" && result.found !== undefined)) ? h("button", { type: "button", title: "With the files that are left", onclick: () => trigger("resume") }, "Go on") : null,
      result.gallery ? h("button", { type: "button", onclick: () => trigger("show", { gallery: result.gallery }) }, "Open and search it") : null),
    result.found === undefined ? null : [counts(result),
      table(`Skipped (${result.skipped.length})`, result.skipped, ["File", "Why"]),
      table(`Duplicates (${result.duplicates.length})`, result.duplicates, ["File", "Same as"])]));
}

watch("value", render);
render();
