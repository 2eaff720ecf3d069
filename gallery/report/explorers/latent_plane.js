// z on a plane, and the decoder's mean there: h = P (a, b) + c, then activation and affine layer in turn, in doubles.
const activate = { relu: (v) => Math.max(v, 0), tanh: Math.tanh }[data.activation];
const means = {
  identity: (eta) => eta,
  sigmoid: (eta) => 1 / (1 + Math.exp(-eta)),
  continuous_bernoulli: (eta) => { // its logit is bounded, and its mean a series where the two terms nearly cancel
    const l = Math.max(-data.bound, Math.min(data.bound, eta));
    return Math.abs(l) < 0.1 ? 0.5 + l / 12 - l ** 3 / 720 : -1 / Math.expm1(-l) - 1 / l;
  },
};

// Weights of 12 bits, two in three bytes, times the scale of their row.
function weights(packed, scale, columns) {
  const from = bytes(packed), w = new Float64Array(scale.length * columns);
  for (let i = 0; i < w.length; i++) {
    const at = 3 * (i >> 1);
    const bits = i & 1 ? (from[at + 1] >> 4) | (from[at + 2] << 4) : from[at] | ((from[at + 1] & 15) << 8);
    w[i] = (bits - 2048) * scale[Math.floor(i / columns)];
  }
  return w;
}

const plane = floats(data.plane), origins = data.origins.map(floats);
let width = origins[0].length;
const layers = data.layers.map(({ packed, scale, bias }) => {
  const layer = { w: weights(packed, floats(scale), width), b: floats(bias), columns: width };
  width = layer.b.length;
  return layer;
});

function decode([a, b], choice) {
  let h = Float64Array.from(origins[choice], (c, i) => plane[2 * i] * a + plane[2 * i + 1] * b + c);
  for (const { w, b: bias, columns } of layers) {
    const input = h.map(activate);
    h = Float64Array.from(bias, (sum, i) => {
      for (let j = 0, at = i * columns; j < columns; j++) sum += w[at + j] * input[j];
      return sum;
    });
  }
  return h.map(means[data.mean]);
}

const pad = part("pad"), canvas = part("picture"), control = part("choice");
const X = line(data.a, [0, 300]), Y = line(data.b, [300, 0]), step = (data.a[1] - data.a[0]) / 40;
shape("path", { d: `M0 ${Y(0)}H300M${X(0)} 0V300`, class: "faint" }, pad);
for (const [a, b, label] of data.codes) {
  const mark = { x: X(a), y: Y(b), class: "mark" };
  if (label === null) shape("circle", { cx: mark.x, cy: mark.y, r: 1.5, class: "mark" }, pad);
  else shape("text", mark, pad, label).style.setProperty("--mark", data.colours[label % data.colours.length]);
}
const prior = shape("ellipse", { class: "prior" }, pad);
const cross = shape("path", { class: "cross" }, pad);
for (const [name, x, y, anchor] of [[data.axes[0], 296, 294, "end"], [data.axes[1], 6, 14, "start"]])
  shape("text", { x, y, "text-anchor": anchor }, pad, name);

let point = data.starts[control?.selectedIndex ?? 0];

function nearest([a, b]) {
  const distance = (code) => Math.hypot(code[0] - a, code[1] - b);
  return data.codes.reduce((best, code) => (distance(code) < distance(best) ? code : best))[2];
}

function show() {
  const choice = control?.selectedIndex ?? 0, [a, b] = point;
  const values = decode(point, choice), at = `${data.axes[0]} = ${number(a, 2)}, ${data.axes[1]} = ${number(b, 2)}`;
  paint(canvas, (i) => values[i], data.channels);
  set(cross, { d: `M${X(a) - 9} ${Y(b)}h18M${X(a)} ${Y(b) - 9}v18` });
  if (data.priors) {
    const [x, y, r1, r2, degrees] = data.priors[choice], unit = X(1) - X(0);
    const transform = `rotate(${-degrees} ${X(x)} ${Y(y)})`;
    set(prior, { cx: X(x), cy: Y(y), rx: r1 * unit, ry: r2 * unit, transform });
  }
  const label = data.choice === "class" ? null : nearest(point); // else the class is given
  const given = control ? `Given ${data.choice} ${control.value}. ` : "";
  const near = label === null ? "" : ` The code shown that is nearest in this plane is of class ${label}.`;
  set(pad, { "aria-valuenow": a.toFixed(2), "aria-valuetext": at });
  set(canvas, { "aria-label": `Mean image at ${at}.${near}` });
  part("status").textContent = `${given}${at}.${near}`;
}

function move(a, b) {
  point = [clamp(a, ...data.a), clamp(b, ...data.b)];
  show();
}

function follow(event) {
  const box = pad.getBoundingClientRect();
  const [right, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  move(line([0, 1], data.a)(right), line([1, 0], data.b)(down));
}

pad.addEventListener("pointerdown", (event) => {
  pad.setPointerCapture(event.pointerId);
  follow(event);
});
pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && follow(event));
pad.addEventListener("keydown", (event) => {
  const by = event.shiftKey ? 5 * step : step, [a, b] = point;
  const to = {
    ArrowLeft: [a - by, b],
    ArrowRight: [a + by, b],
    ArrowUp: [a, b + by],
    ArrowDown: [a, b - by],
    Home: data.starts[control?.selectedIndex ?? 0],
  }[event.key];
  if (!to) return;
  event.preventDefault();
  move(...to);
});
control?.addEventListener("change", () => {
  move(...(data.choice === "component" ? data.starts[control.selectedIndex] : point));
});
show();
