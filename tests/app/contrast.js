/* Every visible text of the page that stands out too little from its ground (WCAG 2.2, 1.4.3, level AA), and how many
   texts were looked at. Left out, as the criterion leaves them out: disabled controls, and text over a picture. */
() => {
  const brush = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const read = (colour) => {
    if (!known.has(colour)) {
      brush.clearRect(0, 0, 1, 1);
      brush.fillStyle = colour;
      brush.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = (top, alpha, below) => top.slice(0, 3).map((c, n) => c * alpha + below[n] * (1 - alpha));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pictured = (element, x, y) =>
    [...element.querySelectorAll("img, canvas, image, video")].some((one) => {
      const box = one.getBoundingClientRect();
      return x >= box.left && x <= box.right && y >= box.top && y <= box.bottom;
    });
  // The colours between a text and the first opaque ancestor, and how opaque the groups are that hold the text.
  const ground = (element, x, y) => {
    const layers = [];
    let opacity = 1;
    for (let one = element; one; one = one.parentElement) {
      const style = getComputedStyle(one);
      const colour = read(style.backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      opacity *= Number(style.opacity);
      if (colour[3] === 1) return { opacity, rgb: layers.reduceRight((below, top) => over(top, top[3], below), [255, 255, 255]) };
      if (pictured(one, x, y)) return null;
    }
    return { opacity, rgb: layers.reduceRight((below, top) => over(top, top[3], below), [255, 255, 255]) };
  };
  const failing = new Map();
  let texts = 0;
  const judge = (element, box, style, words) => {
    if (box.width < 2 || box.height < 2 || element.closest(":disabled, [aria-disabled=true]")) return;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return;
    const below = ground(element, box.left + box.width / 2, box.top + box.height / 2);
    if (!below) return;
    texts += 1;
    const colour = read(element instanceof SVGElement ? style.fill : style.color);
    const seen = over(colour, colour[3] * below.opacity, below.rgb);
    const [high, low] = [light(seen), light(below.rgb)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio >= needed) return;
    const home = element.closest("[id]")?.id ?? "";
    const name = `#${home} ${element.localName}.${element.getAttribute("class") ?? ""} ${seen.map(Math.round)}`;
    const hex = (rgb) => "#" + rgb.map((c) => Math.round(c).toString(16).padStart(2, "0")).join("");
    if (!failing.has(name)) failing.set(name, `${name} “${words.trim().slice(0, 30)}”: ${ratio.toFixed(2)} (${hex(seen)} on ${hex(below.rgb)})`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest("script, style, noscript, template, option")) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    judge(element, range.getBoundingClientRect(), getComputedStyle(element), walker.currentNode.data);
  }
  for (const field of document.querySelectorAll("input, textarea, select")) {
    if (["checkbox", "radio", "range", "file", "color", "hidden"].includes(field.type)) continue;
    const shown = field.value || field.placeholder;
    if (shown) judge(field, field.getBoundingClientRect(), getComputedStyle(field, field.value ? null : "::placeholder"), shown);
  }
  return { texts, failing: [...failing.values()] };
}
