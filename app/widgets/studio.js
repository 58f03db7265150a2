// Shared by all widgets: elements, colour scales, token maps, and the page's address. No framework, no network.
window.studio = (() => {
  // An element: studio.h("button.primary", {onclick: f, title: "…"}, "text", child, …). Text is never read as HTML.
  function h(selector, attributes, ...children) {
    const [tag, ...classes] = selector.split(".");
    const svg = ["svg", "g", "path", "rect", "circle", "line", "image"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag || "div");
    if (classes.length) node.setAttribute("class", classes.join(" "));
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
      else if (name === "value") node.value = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity)) {
      if (child === null || child === undefined || child === false) continue;
      node.append(child instanceof Node ? child : String(child));
    }
    return node;
  }

  // A text of ours about the baseline and SSA-ME, with the names that the versions have in `value.titles`: another version of
  // the model may stand in the baseline's place. Never give it a text of a visitor's.
  function worded(text, value) {
    const titles = value?.titles;
    if (!titles || titles.baseline === "Baseline") return text;
    return text.replace(/(?:[Tt]he )?\b[Bb]aseline\b|SSA-ME/g, (found) => (found === "SSA-ME" ? titles["ssa-me"] : titles.baseline));
  }

  const ICONS = {
    image: "M3 5h18v14H3zM3 16l5-5 4 4 3-3 6 6M16 9.5h.01",
    search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
    close: "M6 6l12 12M18 6L6 18",
    link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
    previous: "M15 5l-7 7 7 7",
    next: "M9 5l7 7-7 7",
    theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
    loupe: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM15 15l6 6M10 7v6M7 10h6",
    pen: "M4 20l1-5L16 4l4 4L9 19zM13.5 6.5l4 4",
    save: "M12 4v11M7 11l5 5 5-5M4 20h16",
    chip: "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4",
  };
  function icon(name, size = 16) {
    const svg = h("svg", { viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true", fill: "none" });
    svg.append(h("path", { d: ICONS[name], stroke: "currentColor", "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round" }));
    return svg;
  }

  // Colour scales: t in [0, 1] to [r, g, b]. Both start or centre on near-black, so that "nothing" looks like nothing.
  const SCALES = {
    share: ["#07060d", "#1f0c48", "#550f6d", "#88226a", "#ba3655", "#e35933", "#f98c0a", "#f9c932", "#fcffa4"],
    difference: ["#a9d3ff", "#5aa2f5", "#2666b8", "#123560", "#0a0b0f", "#5c2a06", "#b1560d", "#f2913a", "#ffd0a1"],
    "grey share": ["#060606", "#ffffff"],
    "grey difference": ["#000000", "#808080", "#ffffff"],
  };
  // The scale in colours or, for printing and for eyes that tell hues apart badly, in greys.
  const scaleOf = (scale, look) => (look === "grey" ? `grey ${scale}` : scale);
  const TABLES = {};
  function colour(scale, t) {
    if (!TABLES[scale]) {
      const stops = SCALES[scale].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
      TABLES[scale] = Array.from({ length: 256 }, (_, i) => {
        const at = (i / 255) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
        return stops[low].map((from, c) => Math.round(from + (stops[low + 1][c] - from) * (at - low)));
      });
    }
    return TABLES[scale][Math.max(0, Math.min(255, Math.round(t * 255)))];
  }
  function gradient(scale, look) {
    return `linear-gradient(to right, ${SCALES[scaleOf(scale, look)].join(", ")})`;
  }

  // The columns and rows of token boxes in raster order; null where they are no whole grid.
  function gridOf(boxes) {
    const unique = (at) => [...new Set(boxes.map((box) => Math.round(box[at] * 10) / 10))].sort((a, b) => a - b);
    const columns = unique(0).length, rows = unique(1).length;
    if (columns * rows !== boxes.length) return null;
    const xs = boxes.slice(0, columns).map((box) => (box[0] + box[2]) / 2);
    const ys = Array.from({ length: rows }, (_, row) => (boxes[row * columns][1] + boxes[row * columns][3]) / 2);
    return { columns, rows, xs, ys };
  }

  // For each of `count` places along a side: the two neighbouring centres and the weight of the second.
  function neighbours(count, length, centres) {
    return Array.from({ length: count }, (_, place) => {
      const at = ((place + 0.5) / count) * length;
      let low = 0;
      while (low < centres.length - 2 && centres[low + 1] < at) low++;
      const high = Math.min(low + 1, centres.length - 1);
      const span = centres[high] - centres[low] || 1;
      return [low, high, Math.max(0, Math.min(1, (at - centres[low]) / span))];
    });
  }

  // How much a value covers the picture beneath: nothing stays see-through, much is opaque.
  function cover(scale, t) {
    const strength = scale.endsWith("difference") ? Math.abs(2 * t - 1) : t;
    return 0.3 + 0.7 * Math.sqrt(Math.max(0, Math.min(1, strength)));
  }

  // The values (one a token) as a field of width × height places over an image of size [w, h]; NaN where no token is.
  function fieldOf(map, values, width, height, smooth) {
    const field = new Float32Array(width * height).fill(NaN);
    const grid = smooth ? gridOf(map.boxes) : null;
    if (!grid) {
      const [right, down] = [width / map.size[0], height / map.size[1]];
      map.boxes.forEach(([x0, y0, x1, y1], index) => {
        for (let y = Math.round(y0 * down); y < Math.round(y1 * down); y++) field.fill(values[index], y * width + Math.round(x0 * right), y * width + Math.round(x1 * right));
      });
      return field;
    }
    const across = neighbours(width, map.size[0], grid.xs), down = neighbours(height, map.size[1], grid.ys);
    let at = 0;
    for (const [top, bottom, v] of down) {
      for (const [left, right, u] of across) {
        const a = values[top * grid.columns + left], b = values[top * grid.columns + right];
        const c = values[bottom * grid.columns + left], d = values[bottom * grid.columns + right];
        field[at++] = (a * (1 - u) + b * u) * (1 - v) + (c * (1 - u) + d * u) * v;
      }
    }
    return field;
  }

  // Paint values (one a token) onto a canvas that lies over an image of size [w, h]; `smooth` interpolates the values.
  // look: "heat", "grey", or "outline", lines where the map crosses each fifth of its scale.
  function paint(canvas, map, values, { low, high, scale, smooth, look = "heat" }) {
    const [width, height] = map.size;
    const ratio = 240 / Math.max(width, height);
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.max(1, Math.round(height * ratio));
    const field = fieldOf(map, values, canvas.width, canvas.height, smooth);
    const t = (value) => (high > low ? Math.max(0, Math.min(1, (value - low) / (high - low))) : 0);
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(canvas.width, canvas.height);
    const step = (at) => Math.min(4, Math.floor(t(field[at]) * 5));
    const name = scaleOf(scale, look);
    for (let at = 0; at < field.length; at++) {
      if (Number.isNaN(field[at])) continue;
      const strength = t(field[at]);
      if (look === "outline") {
        const crossed = [1, canvas.width].map((by) => at + by).filter((next) => next < field.length && (next % canvas.width || next - at > 1));
        const line = crossed.find((next) => step(next) !== step(at));
        if (line === undefined) continue;
        pixels.data.set(colour(scale, scale === "difference" ? (strength < 0.5 ? 0.08 : 0.92) : 0.45 + 0.5 * (Math.max(step(at), step(line)) / 4)), at * 4);
        pixels.data[at * 4 + 3] = 255;
      } else {
        pixels.data.set(colour(name, strength), at * 4);
        pixels.data[at * 4 + 3] = 255 * cover(name, strength);
      }
    }
    context.putImageData(pixels, 0, 0);
  }

  // The page's address follows the search; `hit` is the opened image's id or null.
  let link = "";
  function address(hit) {
    return link + (hit === null || hit === undefined ? "" : `&hit=${hit}`);
  }
  function setAddress(query, hit) {
    if (query) link = query;
    if (link) history.replaceState(null, "", location.pathname + address(hit));
  }
  // Another tab's address, which its own parts have built; the search keeps its link for when it is shown again.
  const visitAddress = (query) => history.replaceState(null, "", location.pathname + query);
  // Run `work` whenever the element comes to be seen: its tab is chosen, or it is new in the page.
  function whenSeen(element, work) {
    let seen = false;
    new ResizeObserver(() => {
      const now = isSeen(element);
      if (now && !seen) work();
      seen = now;
    }).observe(element);
  }
  const isSeen = (element) => element.getClientRects().length > 0;
  async function copyAddress(button) {
    const before = button.lastChild.textContent;
    try {
      await navigator.clipboard.writeText(location.href);
      button.lastChild.textContent = "Copied";
    } catch {
      button.lastChild.textContent = "Copy it from the address bar";
    }
    setTimeout(() => (button.lastChild.textContent = before), 1600);
  }

  const say = (name, detail) => window.dispatchEvent(new CustomEvent(`studio:${name}`, { detail }));
  // Listen as long as the element is in the page: Gradio removes a tab's elements when another tab is chosen.
  function hear(element, name, listener) {
    const wrapped = (event) => (element.isConnected ? listener(event.detail) : window.removeEventListener(`studio:${name}`, wrapped));
    window.addEventListener(`studio:${name}`, wrapped);
  }
  const percent = (share) => `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
  const time = (seconds) => (seconds === null || seconds === undefined ? "" : seconds < 0.00005 ? "< 0.1 ms" : seconds < 0.00995 ? `${(seconds * 1000).toFixed(1)} ms` : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);
  return { h, icon, worded, colour, gradient, paint, setAddress, visitAddress, whenSeen, isSeen, copyAddress, say, hear, percent, time };
})();
