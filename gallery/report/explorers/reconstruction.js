// A drawing through encoder and decoder; corrupted before, or with the k largest units of its code.
const encode = network(data.encoder), decode = network(data.decoder);
const slider = part("slider"), canvas = part("picture"), curve = part("curve"), terms = part("terms");
const legend = part("legend");
const noise = data.noise && floats(data.noise), plain = data.kind === "plain", sparse = data.kind === "k";
const corruptions = {
  uniform: (x, level) => x.map((v, i) => clamp(v + level * noise[i], 0, 1)),
  gaussian: (x, level) => x.map((v, i) => v + level * noise[i]),
  salt_pepper: (x, level) => x.map((v, i) => (noise[i] < level / 2 ? 0 : noise[i] > 1 - level / 2 ? 1 : v)),
  masking: (x, level) => {
    const order = Array.from(noise.keys()).sort((i, j) => noise[i] - noise[j]), masked = x.slice();
    for (const i of order.slice(0, half(level * x.length))) masked[i] = 0;
    return masked;
  },
};
const half = (v) => (v % 1 === 0.5 ? 2 * Math.round(v / 2) : Math.round(v)); // to the even number, as in Python
const error = (a, b) => a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0);
const setBars = codeBars(part("code"), data.units, data.range);

function largest(code, k) {
  const kept = new Set(Array.from(code.keys()).sort((i, j) => code[j] - code[i]).slice(0, k));
  return code.map((v, i) => (kept.has(i) ? v : 0));
}

function entry(kind, text) {
  const item = document.createElement("li"), key = shape("svg", { viewBox: "0 0 30 16", "aria-hidden": true }, item);
  if (kind === "dot") shape("circle", { cx: 15, cy: 8, r: 4, class: "mine" }, key);
  else shape("path", { d: kind === "start" ? "M15 0v16" : "M2 8h26", class: kind }, key);
  item.append(text);
  legend.append(item);
}

let mark = null, X = null, Y = null, dot = null;
if (plain) mark = histogram(curve, data.errors, "squared error; line: the drawing", "Squared error", [8, 8, 324, 52]);
else {
  const last = data.curve.length - 1, xs = data.curve.map((_, i) => (sparse ? i + 1 : i / last));
  const to = 1.05 * Math.max(...data.curve, ...(data.input ?? [])), x = sparse ? [0, data.units] : [0, 1];
  const xlabel = sparse ? "k, units that stay on" : "level of corruption";
  const box = [44, 8, 284, 140], labels = { xlabel, ylabel: "squared error", ny: 4, grid: true };
  const made = axes(curve, { x, y: [0, to], box, ...labels });
  ({ X, Y } = made);
  const draw = (ys, kind) => shape("polyline", { points: points(xs.map(X), ys.map(Y)), class: kind }, made.field);
  shape("path", { d: `M${X(data.start)} 8V148`, class: "start" }, made.field);
  if (data.input) draw(data.input, "line other");
  draw(data.curve, "line");
  dot = shape("circle", { r: 5, class: "mine" }, made.field);
  if (data.input) entry("line other", `corrupted input, mean of ${data.n} ${data.split} images`);
  entry("line", `reconstruction, mean of ${data.n} ${data.split} images`);
  entry("dot", "the drawing");
  entry("start", sparse ? "k of the fit" : "level of the fit");
}

let drawn = null;
function show() {
  const at = slider ? Number(slider.value) : data.start, x = drawn;
  const read = corruptions[data.kind]?.(x, at) ?? x, code = sparse ? largest(encode(x), at) : encode(read);
  const image = decode(code).map(means[data.mean]), off = error(image, x), before = error(read, x);
  paint(canvas, (i) => image[i]);
  if (part("corrupted")) {
    paint(part("corrupted"), (i) => read[i]);
    set(part("corrupted"), { "aria-label": `The drawing, corrupted at level ${number(at, 2)}` });
  }
  set(canvas, { "aria-label": `Reconstruction, squared error ${number(off, 3)}` });
  const on = setBars(code), words = `${on} of ${data.units} units are not zero`;
  terms.replaceChildren();
  if (read !== x) row(terms, "of the corrupted image", number(before, 3));
  row(terms, "of the reconstruction", number(off, 3));
  if (plain) {
    const below = mark(off);
    const rank = `above that of ${Math.round(100 * below)} % of ${data.n} ${data.split} images`;
    part("status").textContent = `Squared error ${number(off, 3)}, ${rank}; ${words}.`;
  } else {
    const where = sparse ? `k = ${at}` : `level ${number(at, 2)}`;
    set(dot, { cx: X(at), cy: Math.max(Y(off), 10) });
    set(slider, { "aria-valuetext": where });
    const mine = `of the drawing at ${where}: ${number(off, 3)}`;
    set(curve, { "aria-label": `Mean squared error over ${sparse ? "k" : "the level"}; ${mine}` });
    part("status").textContent = `${where}: ${words}.`;
  }
  const numbers = { x: [...x], at, read: [...read], code: [...code], image: [...image], error: off, before };
  root.dataset.shown = JSON.stringify(numbers);
}
slider?.addEventListener("input", show);
drawingSheet(data, (x) => {
  drawn = x;
  show();
});
