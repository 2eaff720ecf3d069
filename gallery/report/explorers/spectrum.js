// Probabilistic PCA at its maximum of the likelihood: all is a function of eigenvalues, the noise and the number of units.
const { eigenvalues, total, d } = data, n = eigenvalues.length, slide = part("k");
const lambda = (j) => Math.log(eigenvalues[j]), rest = (k) => total - sum(eigenvalues.slice(0, k));
const best = (k) => Math.log(rest(k) / (d - k)); // logarithm of the best variance
const edge = [Math.min(lambda(n - 1), best(n)) - 1, lambda(0) + 0.7], grid = from(121, (i) => edge[0] + (i * (edge[1] - edge[0])) / 120);
let k = Number(slide.value), level = data.sigma ? clamp(2 * Math.log(data.sigma), ...edge) : best(k), example = 0;

function log_p(at, units) { // at the noise exp(at)
  const each = eigenvalues.slice(0, units).map((v) => Math.max(Math.log(v), at) + v / Math.max(v, Math.exp(at)));
  return -0.5 * (d * Math.log(2 * Math.PI) + sum(each) + (d - units) * at + rest(units) * Math.exp(-at));
}
const kl = (j) => 0.5 * Math.max(lambda(j) - level, 0);
const lives = () => from(k, kl).filter((v) => v > 0).length;
const decades = from(9, (i) => 10 ** (i - 5)).flatMap((v) => [v, 2 * v, 5 * v]);
const marks = decades.map((v) => [Math.log(v), String(Number(v.toPrecision(1)))]).filter(([v]) => v > edge[0] && v < edge[1]);

const plot = chart(part("picture"), 320, () => {
  const xticks = ticks([1, n], 8).filter(([v]) => Number.isInteger(v));
  return { x: [0.3, n + 0.7], y: edge, xticks, yticks: marks, xlabel: "unit j", ylabel: "variance" };
}, ({ X, Y, field, curve }) => {
  const bar = (j, from, to, kind) => to > from && shape("rect", {
    x: X(j + 0.62), width: X(0.76) - X(0), y: Y(to), height: Y(from) - Y(to), class: `bar ${kind}` }, field);
  for (let j = 0; j < n; j++) {
    const dead = j < k ? Math.min(lambda(j), level) : lambda(j);
    bar(j, edge[0], dead, "grey");
    if (j < k) bar(j, level, lambda(j), "k0");
  }
  curve([0, n + 1], [level, level], "curve guide");
});
const drag = (on, get, to, step) => handle(on, {
  label: "Noise variance",
  kind: "guide",
  get,
  move: (at) => {
    level = clamp(to(at), ...edge);
    show();
  },
  say: () => `σ² = ${Math.exp(level).toPrecision(3)}, ${lives()} of ${k} units live`,
  step,
});
drag(plot, () => [n + 0.2, level], ([, y]) => y, [0, 0.05]);
const along = chart(part("curve"), 320, () => {
  const values = grid.map((at) => log_p(at, k)), high = log_p(best(k), k), low = Math.max(Math.min(...values), high - 60);
  const xticks = part("curve").clientWidth < 420 ? marks.filter(([, text]) => /^[.0]*1/.test(text)) : marks;
  return { x: edge, y: [low - 3, high + 5], xticks, xlabel: "noise σ²", ylabel: "log p(x), nats per data point" };
}, ({ X, Y, field, curve }) => {
  curve(grid, grid.map((at) => log_p(at, k)), "curve truth");
  shape("path", { d: `M${X(level)} 0V400`, class: "curve guide" }, field);
  const [x, y] = [X(best(k)), Y(log_p(best(k), k))];
  shape("path", { d: `M${x} ${y - 6}l6 6l-6 6l-6 -6z`, class: "diamond" }, field);
});
drag(along, () => [level, Math.max(log_p(level, k), along.view.y[0])], ([x]) => x, [0.05, 0]);

const [mean, u, images] = data.shape ? [data.mean, data.u, data.x].map(floats) : [];
const direction = (j) => u.subarray(j * d, (j + 1) * d);

function draw() { // E[x | z] at the posterior mean of z, and the columns of W as differences from grey
  const x = images.subarray(example * d, (example + 1) * d), [height, width] = data.shape, image = Array.from(mean);
  const largest = Math.max(...from(n, (j) => Math.sqrt(eigenvalues[j]) * Math.max(...direction(j).map(Math.abs))));
  const rows = Math.ceil(k / 10), canvas = part("units");
  set(canvas, { width: 10 * (width + 1) - 1, height: rows * (height + 1) - 1 });
  for (const name of ["original", "image"]) set(part(name), { width, height });
  for (let j = 0; j < k; j++) {
    const to = direction(j), kept = Math.max(1 - Math.exp(level - lambda(j)), 0);
    const z = to.reduce((all, v, i) => all + v * (x[i] - mean[i]), 0);
    to.forEach((v, i) => { image[i] += kept * z * v; });
    const w = Math.sqrt(Math.max(eigenvalues[j] - Math.exp(level), 0)) / largest;
    paint(canvas, (i) => 0.5 + 0.5 * w * to[i], 1, (j % 10) * (width + 1), Math.floor(j / 10) * (height + 1), width, height);
  }
  paint(part("original"), (i) => x[i]);
  paint(part("image"), (i) => image[i]);
  const off = sum(image.map((v, i) => (v - x[i]) ** 2));
  set(part("original"), { "aria-label": `Test image ${example + 1}` });
  set(part("image"), { "aria-label": `Its reconstruction, squared error ${number(off, 3)}` });
  set(canvas, { "aria-label": `The columns of W, ${lives()} of ${k} not zero` });
  return [image, off];
}

function show() {
  k = Number(slide.value);
  const each = from(k, kl), code = sum(each), value = log_p(level, k), top = log_p(best(k), k), on = lives();
  read("live", on, 0);
  read("log_p", value);
  read("kl", code);
  read("reconstruction", value + code);
  read("best", top);
  plot.redraw();
  along.redraw();
  const variance = Math.exp(level), [image, off] = images ? draw() : [[], null];
  const short = top - value < 5e-5 ? "the largest that there is" : `${number(top - value, 2)} nats below the largest`;
  const seen = off === null ? "" : ` The squared error of the image is ${number(off, 3)}.`;
  const text = `σ = ${number(Math.sqrt(variance), 3)}: ${on} of ${k} units live, and log p(x) is ${short}.${seen}`;
  set(part("picture"), { "aria-label": `Eigenvalues and the noise. ${text}` });
  set(part("curve"), { "aria-label": `log p(x) by the noise. ${text}` });
  part("status").textContent = text;
  root.dataset.shown = JSON.stringify({ variance, k, image, error: off });
}
slide.addEventListener("input", show);
press("snap", () => { level = best(k); show(); });
if (images) press("example", () => { example = (example + 1) % (images.length / d); show(); });
show();
