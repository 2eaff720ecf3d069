// z on a plane, and the decoder's mean there; where there is a sheet, the code of a drawing and its bound.
const D = floats(data.directions), length = D.length / 2, rests = data.rest.map(floats);
const first = floats(data.first), origins = data.origins.map(floats), later = network(data.layers);
const pad = part("pad"), canvas = part("picture"), control = part("choice"), legend = part("legend");
const chosen = () => control?.selectedIndex ?? 0;
const step = (data.a[1] - data.a[0]) / 40;

// The outputs of the decoder: its first layer is an affine map of z for each choice.
function outputs(z, choice) {
  const activate = activations[data.activation] ?? ((v) => v);
  return later(Float64Array.from(origins[choice], (sum, i) => {
    for (let j = 0; j < length; j++) sum += first[i * length + j] * z[j];
    return activate(sum);
  }));
}
const onPlane = ([a, b], choice) => rests[choice].map((v, j) => v + D[2 * j] * a + D[2 * j + 1] * b);
const across = (z) => [0, 1].map((c) => z.reduce((sum, v, j) => sum + v * D[2 * j + c], 0));

const labels = { xlabel: data.axes[0], ylabel: data.axes[1], ny: 5, grid: true };
const { X, Y, field } = axes(pad, { x: data.a, y: data.b, box: [0, 0, 300, 300], ...labels });
for (const [a, b, label] of data.codes) {
  const style = `--mark: ${label === null ? "#888" : data.colours[label % data.colours.length]}`;
  if (label === null) shape("circle", { cx: X(a), cy: Y(b), r: 2.5, class: "mark", style }, field);
  else shape("text", { x: X(a), y: Y(b), class: "mark", style }, field, label);
}
const prior = data.priors && shape("ellipse", { class: "prior" }, field);
const cloud = data.drawing && shape("ellipse", { class: "ellipse" }, field);
const cross = shape("path", { class: "cross" }, field);

function ellipse(element, [x, y, r1, r2, degrees]) {
  const unit = X(1) - X(0);
  set(element, { cx: X(x), cy: Y(y), rx: r1 * unit, ry: r2 * unit, transform: `rotate(${-degrees} ${X(x)} ${Y(y)})` });
}

function entry(tag, attributes, text) {
  const item = document.createElement("li"), key = shape("svg", { viewBox: "0 0 30 16", "aria-hidden": true }, item);
  shape(tag, attributes, key);
  item.append(text);
  legend.append(item);
}
if (prior) entry("ellipse", { cx: 15, cy: 8, rx: 13, ry: 6, class: "prior" }, "prior, 2 sd");
if (cloud) entry("ellipse", { cx: 15, cy: 8, rx: 9, ry: 5, class: "ellipse" }, "q(z | x) of the drawing, 2 sd");
entry("path", { d: "M8 8h14M15 1v14", class: "cross" }, "chosen z");
const classes = data.codes.some(([, , label]) => label !== null) ? ", by class" : "";
entry("circle", { cx: 15, cy: 8, r: 3, class: "mark" }, `codes of test images${classes}`);

let point = data.starts[chosen()];

function nearest([a, b]) {
  const distance = (code) => Math.hypot(code[0] - a, code[1] - b);
  return data.codes.reduce((best, code) => (distance(code) < distance(best) ? code : best))[2];
}

function show() {
  const choice = chosen(), [a, b] = point, values = outputs(onPlane(point, choice), choice).map(means[data.mean]);
  const [u, v] = data.axes[0] === "z₁" ? data.axes : ["a", "b"];
  const at = `${u} = ${number(a, 2)}, ${v} = ${number(b, 2)}`;
  paint(canvas, (i) => values[i], data.channels);
  set(cross, { d: `M${X(a) - 9} ${Y(b)}h18M${X(a)} ${Y(b) - 9}v18` });
  if (prior) ellipse(prior, data.priors[choice]);
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
  const box = pad.getBoundingClientRect(), view = pad.viewBox.baseVal;
  const right = view.x + ((event.clientX - box.left) / box.width) * view.width;
  const down = view.y + ((event.clientY - box.top) / box.height) * view.height;
  move(line([0, 300], data.a)(right), line([300, 0], data.b)(down));
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
    Home: data.starts[chosen()],
  }[event.key];
  if (!to) return;
  event.preventDefault();
  move(...to);
});

// The guide on a drawing: mean and standard deviation, reconstruction at the mean, and the terms of the ELBO.
function bound(x, choice) {
  const { tails, spread, likelihood, sd, prior } = data.drawing, [loc, scale] = prior.map((of) => of[choice]);
  const out = encode([...x, ...tails[choice]]), mean = out.slice(0, length), s = out.slice(length).map(spreads[spread]);
  const each = noise(length).map((eps) => {
    const eta = outputs(mean.map((m, j) => m + s[j] * eps[j]), choice), fitted = eta.map(means[data.mean]);
    return x.reduce((sum, v, i) => sum + logProbs[likelihood](v, eta[i], fitted[i], sd?.[i] ?? sd), 0);
  });
  const terms = each.reduce((sum, v) => sum + v, 0) / each.length;
  const kl = mean.reduce((sum, m, j) => {
    const ratio = (s[j] / scale[j]) ** 2;
    return sum + 0.5 * (ratio + ((m - loc[j]) / scale[j]) ** 2 - 1 - Math.log(ratio));
  }, 0);
  return { mean, s, terms, kl, elbo: terms - kl, image: outputs(mean, choice).map(means[data.mean]) };
}

function projected(mean, s) { // the ellipse of two standard deviations of a diagonal normal on the plane
  let [p, q, r] = [0, 0, 0];
  s.forEach((v, j) => {
    p += D[2 * j] ** 2 * v * v;
    q += D[2 * j] * D[2 * j + 1] * v * v;
    r += D[2 * j + 1] ** 2 * v * v;
  });
  const middle = (p + r) / 2, off = Math.hypot((p - r) / 2, q), angle = Math.atan2(2 * q, p - r) * (90 / Math.PI);
  return [...across(mean), 2 * Math.sqrt(middle + off), 2 * Math.sqrt(Math.max(middle - off, 0)), angle];
}

let encode = null, noise = null, again = () => {};
if (data.drawing) {
  encode = network(data.drawing.encoder);
  noise = normals(data.drawing.noise);
  const mark = histogram(part("strip"), data.drawing.elbos, "ELBO in nats; line: the drawing", "ELBO");
  const code = part("code"), few = length <= 4, along = few ? { nx: 0 } : { xlabel: "dimension of z", nx: 5 };
  const chart = axes(code, { x: [0.5, length + 0.5], y: [-4, 4], box: [34, 6, 200, 92], ylabel: "z", ny: 4, ...along });
  const name = (j) => `z${String.fromCharCode(0x2081 + j)}`;
  const spans = Array.from({ length }, (_, j) => {
    if (few) shape("text", { x: chart.X(j + 1), y: 112, "text-anchor": "middle" }, code, name(j));
    const paths = ["under", "span"].map((kind) => shape("path", { class: `${kind}${few ? "" : " thin"}` }, chart.field));
    return [...paths, shape("circle", { r: few ? 3.5 : 2.2, class: "dot" }, chart.field)];
  });
  shape("text", { x: 134, y: few ? 128 : 140, "text-anchor": "middle" }, code, "blue: q(z | x), grey: prior; ±2 sd");
  const upright = (j, m, v) => `M${chart.X(j + 1)} ${chart.Y(m - 2 * v)}V${chart.Y(m + 2 * v)}`;
  let x = null;
  again = () => {
    const choice = chosen(), found = bound(x, choice), { mean, s, terms, kl, elbo, image } = found;
    const [locs, scales] = data.drawing.prior;
    paint(part("reconstruction"), (i) => image[i]);
    spans.forEach(([under, span, dot], j) => {
      set(under, { d: upright(j, locs[choice][j], scales[choice][j]) });
      set(span, { d: upright(j, mean[j], s[j]) });
      set(dot, { cx: chart.X(j + 1), cy: chart.Y(mean[j]) });
    });
    ellipse(cloud, projected(mean, s));
    const table = part("terms"), below = mark(elbo), [given, y] = control ? [", y", " | y"] : ["", ""];
    table.replaceChildren();
    if (few) mean.forEach((m, j) => row(table, `${name(j)}: mean ± sd`, `${number(m, 3)} ± ${number(s[j], 3)}`));
    row(table, `E_q[log p(x | z${given})]`, number(terms, 3));
    row(table, "− KL(q ‖ prior)", number(-kl, 3));
    row(table, `= ELBO ≤ log p(x${y})`, number(elbo, 3));
    const words = `Above ${Math.round(100 * below)} % of ${data.drawing.elbos.length} ${data.drawing.split} images.`;
    part("rank").textContent = words;
    set(part("reconstruction"), { "aria-label": `Reconstruction ELBO ${number(elbo, 2)} nats. ${words}` });
    const each = Array.from(mean, (m, j) => `${number(m, 2)} ± ${number(s[j], 2)}`);
    set(code, { "aria-label": `Code: ${each.join("; ")}` });
    const numbers = { x: [...x], choice, mean: [...mean], sd: [...s], terms, kl, elbo, image: [...image] };
    root.dataset.shown = JSON.stringify(numbers);
    return found;
  };
  drawingSheet(data.drawing, (drawn, label) => {
    x = drawn;
    if (label !== null && data.choice === "class") control.selectedIndex = label;
    move(...across(again().mean));
  });
}
control?.addEventListener("change", () => {
  again();
  move(...(data.choice === "component" ? data.starts[chosen()] : point));
});
show();
