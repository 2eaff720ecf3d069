// A sheet on the grid of the images: mouse, finger and keyboard draw; a button loads the next image of the data.
function drawingSheet({ examples, labels, binary, split }, changed) {
  const ink = part("ink"), sheet = part("sheet"), grid = part("grid"), erase = part("erase"), next = part("example");
  const { width, height } = ink, size = width * height, fine = width > 12, x = new Float64Array(size);
  const images = bytes(examples), count = images.length / size;
  let pen = [Math.floor(width / 2), Math.floor(height / 2)], last = null, waiting = false;
  let at = -1, label = null; // the image that was loaded last, and its class

  if (!fine) {
    const lines = Array.from({ length: width - 1 }, (_, i) => `M${i + 1} 0V${height}`);
    lines.push(...Array.from({ length: height - 1 }, (_, i) => `M0 ${i + 1}H${width}`));
    shape("path", { d: lines.join(""), class: "faint" }, grid);
  }
  const cell = shape("rect", { width: 1, height: 1, class: "cell" }, grid);

  function show() {
    waiting = false;
    paint(ink, (i) => x[i]);
    changed(x, label);
  }

  function update() { // once a frame: a stroke has more points
    if (!waiting) requestAnimationFrame(show);
    waiting = true;
  }

  // Ink around a point, from 1 within a core to 0 at its edge; the pen of a coarse grid is a pixel wide.
  function dab([right, down]) {
    const [core, edge] = fine ? [0.7, 1.7] : [0.45, 0.95], reach = 2;
    for (let i = Math.max(0, Math.floor(down - reach)); i < Math.min(height, down + reach); i++) {
      for (let j = Math.max(0, Math.floor(right - reach)); j < Math.min(width, right + reach); j++) {
        const away = Math.hypot(j + 0.5 - right, i + 0.5 - down), k = i * width + j;
        const amount = clamp((edge - away) / (edge - core), 0, 1);
        if (erase.ariaPressed === "true") x[k] = amount > 0.4 ? 0 : x[k];
        else x[k] = Math.max(x[k], binary ? Number(amount > 0.4) : Math.round(255 * amount) / 255);
      }
    }
  }

  function place(event) {
    const box = ink.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  }

  function stroke(event) {
    const to = place(event), from = last ?? to, far = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const steps = Math.max(1, Math.ceil(4 * far));
    for (let s = 1; s <= steps; s++) dab(from.map((v, c) => v + ((to[c] - v) * s) / steps));
    last = to;
    label = null;
    update();
  }

  sheet.addEventListener("pointerdown", (event) => {
    sheet.setPointerCapture(event.pointerId);
    last = null;
    stroke(event);
  });
  sheet.addEventListener("pointermove", (event) => {
    if (!sheet.hasPointerCapture(event.pointerId)) return;
    const between = event.getCoalescedEvents?.() ?? [];
    for (const point of between.length ? between : [event]) stroke(point);
  });

  function move(right, down) {
    pen = [clamp(pen[0] + right, 0, width - 1), clamp(pen[1] + down, 0, height - 1)];
    set(cell, { x: pen[0], y: pen[1] });
    const value = x[pen[1] * width + pen[0]];
    set(ink, { "aria-label": `Drawing, pen at row ${pen[1] + 1}, column ${pen[0] + 1}, ink ${number(value, 1)}` });
  }

  sheet.addEventListener("keydown", (event) => {
    const still = [0, 0], by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    Object.assign(by, { " ": still, Enter: still });
    if (!(event.key in by)) return;
    event.preventDefault();
    const k = pen[1] * width + pen[0], draws = event.key === " " || event.key === "Enter";
    if (draws) {
      x[k] = x[k] > 0.5 ? 0 : 1;
      label = null;
      update();
    }
    move(...by[event.key]);
  });
  part("clear").addEventListener("click", () => {
    x.fill(0);
    label = null;
    update();
  });
  erase.addEventListener("click", () => set(erase, { "aria-pressed": erase.ariaPressed !== "true" }));

  function load() {
    at = (at + 1) % count;
    for (let i = 0; i < size; i++) x[i] = images[at * size + i] / 255;
    label = labels?.[at] ?? null;
    next.textContent = `Next ${split} image`;
  }
  next.addEventListener("click", () => {
    load();
    update();
  });
  move(0, 0);
  load();
  show();
  return update;
}
