// value: {token, kind: "warning" | "note", text} | {token, text: ""}. A new token means that the query is answered.
// The "message" event of other widgets shows a line of theirs in the same place.
const { h, say, hear } = studio;

function show(message) {
  if (!message || !message.text) return element.replaceChildren();
  const warning = message.kind === "warning";
  element.replaceChildren(h(`p${warning ? ".warning" : ".note"}`, { role: warning ? "alert" : "status" },
    h("span.sign", { "aria-hidden": "true" }, warning ? "!" : "i"), message.text));
}

function render() {
  show(props.value);
  if (props.value) say("done");
}

hear(element, "message", show);
watch("value", render);
render();
