// The first rows of every image, and grey below them; completions of a drawing are computed here.
const canvas = part("picture"), slider = part("shown"), which = part("set"), play = part("play"), marks = part("marks");
const width = Number(canvas.dataset.width), height = Number(canvas.dataset.height), size = width * height;
const unpack = (pixels) => Float64Array.from(bytes(pixels), (v) => v / 255);
const sets = data.sets.map(({ first, pixels }) => ({ first, values: unpack(pixels) }));
const still = matchMedia("(prefers-reduced-motion: reduce)").matches, PAUSE = 150; // a row, in milliseconds
let timer = null;

const edge = shape("path", { class: "edge" }, marks);
const item = document.createElement("li"), key = shape("svg", { viewBox: "0 0 30 16", "aria-hidden": true }, item);
shape("path", { d: "M2 8h26", class: "edge key" }, key);
item.append("above the line: given to the model; below it: drawn by the model");
part("legend").append(item);

function show() {
  const { first, values } = sets[which.selectedIndex], t = Number(slider.value), end = (size * t) / data.steps;
  const count = values.length / size, lines = [];
  for (let i = 0; i < count; i++) {
    const left = (i % data.columns) * (width + 2), top = Math.floor(i / data.columns) * (height + 2);
    paint(canvas, (p) => (p < end ? values[i * size + p] : data.hidden), 1, left, top, width, height);
    if (first) lines.push(`M${left} ${top + (first * height) / data.steps}h${width}`);
  }
  set(edge, { d: lines.join("") });
  part("legend").hidden = !first;
  const text = `${t} of ${data.steps} rows`;
  set(slider, { "aria-valuetext": text });
  set(canvas, { "aria-label": `${count} images ${which.value}, ${text}` });
  const known = Math.min(t, first), drawn = t - known;
  const shown = known ? `${known} shown to the model, ` : "";
  if (!timer) part("status").textContent = `${text}: ${shown}${drawn} drawn by it.`; // not while playing
}

function stop() {
  clearInterval(timer);
  timer = null;
  play.textContent = still ? "Next row" : "Play";
}

// At the end it begins again, with the rows given to the model, or with the first: a picture is never empty.
function next() {
  const t = Number(slider.value), first = sets[which.selectedIndex].first;
  if (t + 1 >= data.steps && timer) stop();
  slider.value = t < data.steps ? t + 1 : Math.max(first, 1); // not an empty picture
  show();
}

play.addEventListener("click", () => {
  if (still) return next(); // with reduced motion the button shows the next row
  if (timer) {
    stop();
    return show();
  }
  timer = setInterval(next, PAUSE);
  play.textContent = "Pause";
  next();
});
slider.addEventListener("input", () => {
  stop();
  show();
});
which.addEventListener("change", show);

function completions({ cells, prior, decoder, encoder, latent, noise }) {
  const layers = cells.map((maps) => maps.map(affine)), row = size / data.steps, sigmoid = activations.sigmoid;
  const [p, decode, q] = [prior, decoder, encoder].map(network), units = floats(cells[0][1].bias).length / 4;
  const draws = normals(noise)(latent + row).map((v) => Float64Array.from(v));

  function advance(input, memory) { // gates in the order of torch: input, forget, cell, output
    layers.forEach(([ofInput, ofState], k) => {
      const a = ofInput(input), b = ofState(memory[k].h), gate = (g, i) => a[g * units + i] + b[g * units + i];
      const c = memory[k].c.map((v, i) => sigmoid(gate(1, i)) * v + sigmoid(gate(0, i)) * Math.tanh(gate(2, i)));
      memory[k] = { c, h: c.map((v, i) => sigmoid(gate(3, i)) * Math.tanh(v)) };
      input = memory[k].h;
    });
    return input;
  }

  function complete(x, cut) { // E[x_t] of each row, after the given ones
    const count = draws.length / data.steps, out = new Float64Array(count * size);
    for (let s = 0; s < count; s++) {
      const memory = layers.map(() => ({ h: new Float64Array(units), c: new Float64Array(units) }));
      let read = new Float64Array(row + latent);
      for (let t = 0; t < data.steps; t++) {
        const h = advance(read, memory), given = x.slice(t * row, (t + 1) * row), eps = draws[s * data.steps + t];
        const raw = t < cut ? q([...h, ...given]) : p(h);
        const z = Array.from({ length: latent }, (_, j) => raw[j] + softplus(raw[latent + j]) * eps[j]);
        const mean = t < cut ? given : decode([...h, ...z]).map(sigmoid);
        const value = t < cut ? given : mean.map((v, i) => Number(eps[latent + i] < v));
        out.set(mean, s * size + t * row);
        read = Float64Array.from([...value, ...z]);
      }
    }
    return out;
  }

  function again() {
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    for (const eps of draws) eps.forEach((_, i) => (eps[i] = i < latent ? normal() : Math.random()));
  }
  return { complete, again };
}

if (data.drawing) {
  const { complete, again } = completions(data.drawing), cut = part("cut"), last = sets.length;
  sets.push({ first: 0, values: new Float64Array(data.columns * size) });
  const hidden = shape("rect", { x: 0, width, class: "hidden" }, part("grid"));
  let drawn = null, due = null;
  const run = () => {
    const first = Number(cut.value), values = complete(drawn, first);
    sets[last] = { first, values };
    which.selectedIndex = last;
    const top = (first * height) / data.steps, text = `${first} of ${data.steps} rows given`;
    set(hidden, { y: top, height: height - top });
    set(cut, { "aria-valuetext": text });
    root.dataset.shown = JSON.stringify({ x: [...drawn], cut: first, means: [...values.subarray(0, 3 * size)] });
    show();
  };
  const slow = size > 200; // then after a stroke, not within it
  const update = () => {
    if (!slow) return run();
    clearTimeout(due);
    due = setTimeout(run, 150);
  };
  cut.addEventListener("input", run);
  part("noise").addEventListener("click", () => {
    again();
    run();
  });
  drawingSheet(data.drawing, (x) => {
    const first = drawn === null;
    drawn = x;
    if (first) run();
    else update();
  });
}
stop();
show();
