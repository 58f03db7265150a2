// The region editor: one canvas with an image, the boxes of its subjects, and the region of one of them, which is edited: a
// box that is drawn, moved and resized, or a mask that is painted and erased. It knows no queue and no server.
//   const editor = studio.regions({ onchange, onchoose });
//   editor.show({ url, size: [w, h], mask_size: [w, h] }, subjects, current), subject: { phrase, bbox: [x, y, w, h], mask }
// Coordinates are pixels of the upright image; a mask is { size: [h, w], counts } in COCO's run lengths, of `mask_size`.
studio.regions = ({ onchange = () => {}, onchoose = () => {} } = {}) => {
  const { h } = studio;
  const canvas = h("canvas", { tabindex: 0, role: "img", "aria-label": "The image with the regions of its subjects" });
  const node = h("div.regions", {}, canvas);
  const context = canvas.getContext("2d");
  let picture = null, image = null, subjects = [], current = 0;
  let now = null; // what is edited: { phrase, box, mask: canvas | null }
  let first = ""; // how it was when it was shown
  let strokes = { inside: null, outside: null }; // what brush and eraser said since, for snapping
  let past = [], future = [];
  let tool = "box", brush = 0, touchEdits = false, hidden = false;
  let view = { zoom: 1, x: 0, y: 0 }; // pan in CSS pixels
  let drag = null, pointer = null, asked = false;

  // Masks: canvases of `mask_size`, opaque inside.
  const sheet = () => h("canvas", { width: picture.mask_size[0], height: picture.mask_size[1] });
  const pen = (of) => of.getContext("2d", { willReadFrequently: true });
  function toMask({ size: [height, width], counts }) {
    const made = h("canvas", { width, height }), pixels = new ImageData(width, height);
    let at = 0, on = false;
    for (const run of counts) {
      if (on) for (let place = at; place < at + run; place++) pixels.data[((place % height) * width + Math.floor(place / height)) * 4 + 3] = 255;
      at += run;
      on = !on;
    }
    pen(made).putImageData(pixels, 0, 0);
    return made;
  }
  function toCounts(of) {
    const { width, height } = of, data = pen(of).getImageData(0, 0, width, height).data, counts = [];
    let on = false, run = 0;
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        if (data[(y * width + x) * 4 + 3] > 127 !== on) { counts.push(run); run = 0; on = !on; }
        run++;
      }
    }
    counts.push(run);
    return { size: [height, width], counts };
  }
  // The box around a mask in pixels of the image; null where it is empty.
  function around(of) {
    const { width, height } = of, data = pen(of).getImageData(0, 0, width, height).data;
    let [left, top, right, bottom] = [width, height, -1, -1];
    for (let y = 0, at = 3; y < height; y++) {
      for (let x = 0; x < width; x++, at += 4) {
        if (data[at] > 127) { left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = y; }
      }
    }
    const [across, down] = scaleOfMask();
    return right < 0 ? null : [left / across, top / down, (right - left + 1) / across, (bottom - top + 1) / down];
  }
  const scaleOfMask = () => [picture.mask_size[0] / picture.size[0], picture.mask_size[1] / picture.size[1]];
  function copyOf(of) {
    if (!of) return null;
    const made = sheet();
    pen(made).drawImage(of, 0, 0);
    return made;
  }

  // What is edited, and its past.
  const state = () => ({ phrase: now.phrase, box: now.box && [...now.box], mask: copyOf(now.mask) });
  const keep = () => { past.push(state()); future = []; if (past.length > 100) past.shift(); };
  const written = () => JSON.stringify(region());
  function region() {
    const mask = now.mask ? toCounts(now.mask) : null;
    return { phrase: now.phrase, bbox: now.mask ? around(now.mask) : now.box, mask };
  }
  function step(from, to) {
    if (!from.length) return false;
    to.push(state());
    now = from.pop();
    told();
    return true;
  }
  function told() {
    shape = null;
    stale = true;
    paint();
    onchange();
  }

  // Between the image and the screen.
  function fit() {
    const { width, height } = canvas.getBoundingClientRect();
    const scale = Math.min(width / picture.size[0], height / picture.size[1]) * view.zoom;
    return { scale, left: (width - picture.size[0] * scale) / 2 + view.x, top: (height - picture.size[1] * scale) / 2 + view.y };
  }
  function place(event) {
    const bounds = canvas.getBoundingClientRect(), { scale, left, top } = fit();
    return [(event.clientX - bounds.left - left) / scale, (event.clientY - bounds.top - top) / scale];
  }
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
  function inside([x, y, w, h]) {
    const [width, height] = picture.size;
    const [bw, bh] = [Math.min(w, width), Math.min(h, height)];
    return [clamp(x, 0, width - bw), clamp(y, 0, height - bh), bw, bh];
  }
  function between([ax, ay], [bx, by]) {
    const [width, height] = picture.size;
    const xs = [clamp(ax, 0, width), clamp(bx, 0, width)].sort((a, b) => a - b), ys = [clamp(ay, 0, height), clamp(by, 0, height)].sort((a, b) => a - b);
    return [xs[0], ys[0], xs[1] - xs[0], ys[1] - ys[0]];
  }
  const corners = ([x, y, w, h]) => [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]].map(([u, v]) => ({ u, v, at: [x + u * w, y + v * h] }));
  let shape = null; // the current region's box, kept: of a mask it is counted from its pixels
  const boxNow = () => (shape = shape || (now?.mask ? around(now.mask) : now?.box));
  const holds = (box, [x, y]) => box && x >= box[0] && y >= box[1] && x <= box[0] + box[2] && y <= box[1] + box[3];
  function handleAt(point, reach) {
    if (!now?.box || now.mask || tool !== "box") return null;
    return corners(now.box).find(({ at }) => Math.hypot(at[0] - point[0], at[1] - point[1]) * fit().scale < reach) || null;
  }
  // The smallest other subject under a point.
  function subjectAt(point) {
    const under = subjects.map((subject, index) => ({ index, box: index === current ? boxNow() : subject.bbox })).filter(({ box }) => holds(box, point));
    under.sort((a, b) => a.box[2] * a.box[3] - b.box[2] * b.box[3]);
    return under.length ? under[0].index : null;
  }

  // Painting: at most once a frame.
  function paint() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; if (node.isConnected) draw(); });
  }
  function draw() {
    const ratio = window.devicePixelRatio || 1, { width, height } = canvas.getBoundingClientRect();
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!picture || !image?.complete || !image.naturalWidth) return;
    const { scale, left, top } = fit();
    const [w, h2] = [picture.size[0] * scale, picture.size[1] * scale];
    context.imageSmoothingEnabled = scale < 3;
    context.drawImage(image, left, top, w, h2);
    if (hidden) return;
    if (now?.mask) veil(left, top, w, h2);
    context.lineJoin = "round";
    subjects.forEach((subject, index) => index !== current && subject.bbox && outline(subject.bbox, index, { scale, left, top }, false));
    const box = boxNow();
    if (box) outline(box, current, { scale, left, top }, true);
    if (now?.box && !now.mask && tool === "box") for (const { at } of corners(now.box)) handle(left + at[0] * scale, top + at[1] * scale);
    if (pointer && tool !== "box") ring(pointer, scale, left, top);
  }
  let shade = null, stale = true; // the veil over what the mask leaves out, and whether it is that of another mask
  function veil(left, top, w, h2) {
    const scale = Math.min(1, 640 / Math.max(now.mask.width, now.mask.height)), [width, height] = [Math.ceil(now.mask.width * scale), Math.ceil(now.mask.height * scale)];
    if (shade?.width !== width || shade?.height !== height) { shade = h("canvas", { width, height }); stale = true; }
    if (stale) {
      const ink = shade.getContext("2d", { willReadFrequently: true });
      ink.globalCompositeOperation = "copy";
      ink.fillStyle = "rgb(8 9 12 / 50%)";
      ink.fillRect(0, 0, width, height);
      ink.globalCompositeOperation = "destination-out";
      ink.drawImage(now.mask, 0, 0, width, height);
      stale = false;
    }
    context.drawImage(shade, left, top, w, h2);
  }
  function outline([x, y, w, h2], index, { scale, left, top }, chosen) {
    const box = [left + x * scale, top + y * scale, w * scale, h2 * scale];
    const masked = chosen && now.mask;
    context.setLineDash(masked ? [2, 3] : []);
    context.strokeStyle = "rgb(0 0 0 / 70%)";
    context.lineWidth = chosen ? 4.5 : 3;
    context.strokeRect(...box);
    context.strokeStyle = chosen ? "#fff" : "rgb(255 255 255 / 72%)";
    context.lineWidth = chosen ? 2.2 : 1.1;
    context.strokeRect(...box);
    context.setLineDash([]);
    if (index < 0 || (subjects.length > 20 && !chosen && w * h2 * scale * scale < 900)) return;
    const label = String(index + 1), wide = 8 + 7 * label.length;
    context.fillStyle = chosen ? "#fff" : "rgb(15 16 20 / 78%)";
    context.fillRect(box[0] - 1, box[1] - 1, wide, 17);
    context.fillStyle = chosen ? "#111" : "#fff";
    context.font = "600 11.5px ui-sans-serif, system-ui, sans-serif";
    context.fillText(label, box[0] + 3, box[1] + 11.5);
  }
  function handle(x, y) {
    context.fillStyle = "#fff";
    context.strokeStyle = "rgb(0 0 0 / 75%)";
    context.lineWidth = 1.2;
    context.beginPath();
    context.rect(x - 4, y - 4, 8, 8);
    context.fill();
    context.stroke();
  }
  function ring([x, y], scale, left, top) {
    for (const [colour, wide] of [["rgb(0 0 0 / 70%)", 3], ["#fff", 1.3]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.beginPath();
      context.arc(left + x * scale, top + y * scale, (brush / 2) * scale, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // Pointers.
  function stroke(from, to) {
    const [across, down] = scaleOfMask();
    if (!now.mask) { now.mask = sheet(); if (tool === "eraser" && now.box) fill(now.mask, now.box); }
    const erasing = tool === "eraser";
    const side = erasing ? "outside" : "inside", other = erasing ? "inside" : "outside";
    strokes[side] = strokes[side] || sheet();
    for (const [of, off] of [[now.mask, erasing], [strokes[side], false], [strokes[other], true]]) {
      if (!of) continue;
      const ink = pen(of);
      ink.globalCompositeOperation = off ? "destination-out" : "source-over";
      ink.lineCap = "round";
      ink.lineWidth = brush * Math.min(across, down);
      ink.beginPath();
      ink.moveTo(from[0] * across, from[1] * down);
      ink.lineTo(to[0] * across + 0.01, to[1] * down);
      ink.stroke();
    }
    stale = true;
    const reach = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])].map((at, n) => at + (n < 2 ? -brush : brush) / 2);
    if (!erasing) shape = shape ? union(shape, between(reach.slice(0, 2), reach.slice(2))) : null; // counted anew when the stroke ends
  }
  const union = (a, b) => between([Math.min(a[0], b[0]), Math.min(a[1], b[1])], [Math.max(a[0] + a[2], b[0] + b[2]), Math.max(a[1] + a[3], b[1] + b[3])]);
  function fill(of, [x, y, w, h2]) {
    const [across, down] = scaleOfMask();
    pen(of).fillRect(Math.round(x * across), Math.round(y * down), Math.round(w * across), Math.round(h2 * down));
  }
  function begin(event) {
    if (!picture || event.button > 1) return;
    canvas.focus({ preventScroll: true });
    const point = place(event), touch = event.pointerType === "touch";
    if (event.button === 1) drag = { kind: "pan", from: [event.clientX, event.clientY], view: { ...view } };
    else if (!now || hidden || (touch && !touchEdits)) drag = { kind: "choose", from: point };
    else if (tool !== "box") { keep(); drag = { kind: "stroke", last: point }; stroke(point, point); }
    else {
      const grip = !event.shiftKey && handleAt(point, touch ? 22 : 10);
      if (grip) drag = { kind: "resize", grip, box: [...now.box], from: point };
      else if (!event.shiftKey && holds(boxNow(), point)) drag = { kind: "move", from: point, start: state(), box: boxNow() };
      else drag = { kind: "draw", from: point };
      drag.start = drag.start || state();
    }
    if (drag.kind !== "choose") canvas.setPointerCapture(event.pointerId);
    paint();
  }
  function move(event) {
    if (!picture) return;
    const point = pointer = place(event);
    if (!drag) return tool === "box" ? pointing(point) : paint();
    const [dx, dy] = drag.from ? [point[0] - drag.from[0], point[1] - drag.from[1]] : [0, 0];
    if (drag.kind === "pan") view = { ...view, x: drag.view.x + event.clientX - drag.from[0], y: drag.view.y + event.clientY - drag.from[1] };
    else if (drag.kind === "stroke") { stroke(drag.last, point); drag.last = point; }
    else if (drag.kind !== "choose") {
      if (!drag.moved && Math.hypot(dx, dy) * fit().scale < 4) return;
      drag.moved = true;
      if (drag.kind === "draw") { now.mask = null; now.box = between(drag.from, point); }
      else if (drag.kind === "move") shift(drag.start, dx, dy);
      else now.box = resized(drag.box, drag.grip, dx, dy);
      shape = drag.kind === "move" && now.mask ? inside([drag.box[0] + dx, drag.box[1] + dy, drag.box[2], drag.box[3]]) : null;
      stale = true;
    }
    paint();
  }
  function resized([x, y, w, h2], { u, v }, dx, dy) {
    const x0 = u === 0 ? x + dx : x, x1 = u === 1 ? x + w + dx : x + w, y0 = v === 0 ? y + dy : y, y1 = v === 1 ? y + h2 + dy : y + h2;
    return between([x0, y0], [x1, y1]);
  }
  function shift(start, dx, dy) {
    if (start.box) now.box = inside([start.box[0] + dx, start.box[1] + dy, start.box[2], start.box[3]]);
    if (!start.mask) return;
    const [across, down] = scaleOfMask();
    if (!drag) now.mask = sheet();
    const ink = pen(now.mask); // the one that is dragged: its past has a copy
    ink.globalCompositeOperation = "copy";
    ink.drawImage(start.mask, Math.round(dx * across), Math.round(dy * down));
    ink.globalCompositeOperation = "source-over";
  }
  function end(event) {
    if (!drag) return;
    const done = drag;
    drag = null;
    if (done.kind === "stroke") return told();
    if (done.kind === "pan") return;
    if (done.moved) {
      if (done.kind === "draw" && Math.min(now.box[2], now.box[3]) < 2) { now = done.start; shape = null; stale = true; return paint(); }
      if (done.kind === "draw") strokes = { inside: null, outside: null };
      past.push(done.start);
      future = [];
      return told();
    }
    const index = subjectAt(place(event));
    if (index !== null && index !== current) onchoose(index);
  }
  function cancel() {
    if (drag?.start) { now = drag.start; shape = null; stale = true; }
    drag = null;
    paint();
  }
  const CURSORS = ["nwse-resize", "ns-resize", "nesw-resize", "ew-resize"];
  function pointing(point) {
    const grip = handleAt(point, 10);
    const turn = grip ? corners(now.box).findIndex(({ u, v }) => u === grip.u && v === grip.v) % 4 : 0;
    canvas.style.cursor = grip ? CURSORS[turn] : holds(boxNow(), point) ? "move" : "crosshair";
  }
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", cancel);
  canvas.addEventListener("pointerleave", () => { pointer = null; paint(); });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || !picture) return;
    event.preventDefault();
    const before = place(event);
    view.zoom = clamp(view.zoom * Math.exp(-event.deltaY / 300), 1, 12);
    const after = place(event), { scale } = fit();
    view = view.zoom === 1 ? { zoom: 1, x: 0, y: 0 } : { ...view, x: view.x + (after[0] - before[0]) * scale, y: view.y + (after[1] - before[1]) * scale };
    paint();
  }, { passive: false });
  new ResizeObserver(paint).observe(canvas);

  function choose(index, draft) {
    current = index;
    const subject = draft || subjects[index] || { phrase: "", bbox: null, mask: null };
    now = { phrase: subject.phrase, box: subject.bbox && [...subject.bbox], mask: subject.mask ? toMask(subject.mask) : null };
    past = [];
    future = [];
    strokes = { inside: null, outside: null };
    shape = null;
    stale = true;
    const original = subjects[index] || { phrase: "", bbox: null, mask: null };
    first = JSON.stringify({ phrase: original.phrase, bbox: original.bbox, mask: original.mask });
    touchEdits = index < 0;
    canvas.classList.toggle("edits", touchEdits);
    paint();
  }

  return {
    node,
    // `current` -1 is a new subject, without a region yet. `draft`: a region to go on with instead of the subject's own.
    show(given, of, index, draft = null) {
      if (!picture || picture.url !== given.url) {
        image = new Image();
        image.onload = paint;
        image.src = given.url;
        view = { zoom: 1, x: 0, y: 0 };
      }
      picture = given;
      node.style.setProperty("--shape", `${picture.size[0]} / ${picture.size[1]}`);
      brush = brush || Math.max(...picture.size) / 16;
      subjects = of;
      choose(index, draft);
    },
    region,
    changed: () => {
      if (!now) return false;
      const { phrase, bbox, mask } = region();
      const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
      const original = JSON.parse(first);
      return phrase !== original.phrase || !same(mask, original.mask) || (!mask && !same(bbox, original.bbox));
    },
    empty: () => !boxNow(),
    undo: () => step(past, future),
    redo: () => step(future, past),
    name(phrase) { if (phrase !== now.phrase) { keep(); now.phrase = phrase; told(); } },
    nudge(dx, dy, resize = false) {
      if (!boxNow()) return;
      keep();
      if (!resize) shift(past[past.length - 1], dx, dy);
      else if (now.box && !now.mask) now.box = between([now.box[0], now.box[1]], [now.box[0] + Math.max(1, now.box[2] + dx), now.box[1] + Math.max(1, now.box[3] + dy)]);
      told();
    },
    // What GrabCut starts from: the box, and what brush and eraser said.
    seeds: () => ({ bbox: now.box, inside: strokes.inside && toCounts(strokes.inside), outside: strokes.outside && toCounts(strokes.outside) }),
    take(mask) { keep(); now.mask = toMask(mask); told(); },
    clear() { if (now.mask) { keep(); now.box = now.box || around(now.mask); now.mask = null; strokes = { inside: null, outside: null }; told(); } },
    use(name) { tool = name; canvas.style.cursor = name === "box" ? "crosshair" : "none"; paint(); },
    tool: () => tool,
    size(by) { brush = clamp(brush * by, 2, Math.max(...picture.size)); paint(); },
    touch(on) { touchEdits = on; canvas.classList.toggle("edits", on); paint(); },
    hide(on) { hidden = on; paint(); },
    hidden: () => hidden,
    dragging: () => drag !== null && drag.kind !== "choose",
    cancel,
    zoom(by) { view = by ? { ...view, zoom: clamp(view.zoom * by, 1, 12) } : { zoom: 1, x: 0, y: 0 }; if (view.zoom === 1) view = { zoom: 1, x: 0, y: 0 }; paint(); },
    repaint: paint,
  };
};
