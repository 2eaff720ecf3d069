// The mode of intercept and slope by Newton's method, the normal with its curvature, and sums over a grid around it.
const REACH = 14, LOGITS = 1, slide = part("n"), scale = data.prior_scale; // sds; from node to node
const sigmoid = (a) => 1 / (1 + Math.exp(-a)), log_sigmoid = (a) => Math.min(a, 0) - Math.log1p(Math.exp(-Math.abs(a)));
const largest = Math.max(...data.c), edge = [-0.05 * largest, 1.05 * largest];
const grid = from(49, (i) => edge[0] + (i * (edge[1] - edge[0])) / 48);
let n, solved;

const log_joint = (a, b) => { // log p(x, w) at intercept a and slope b
  let total = -(a * a + b * b) / (2 * scale ** 2) - Math.log(2 * Math.PI * scale ** 2);
  for (let i = 0; i < n; i++) total += log_sigmoid((2 * data.x[i] - 1) * (a + b * data.c[i]));
  return total;
};

function solve() {
  let w = [0, 0], P;
  const curvature = () => {
    P = [scale ** -2, 0, scale ** -2];
    for (let i = 0; i < n; i++) {
      const p = sigmoid(w[0] + w[1] * data.c[i]), v = p * (1 - p), c = data.c[i];
      P = [P[0] + v, P[1] + v * c, P[2] + v * c * c];
    }
  };
  for (let round = 0; round < 30; round++) {
    curvature();
    let g = w.map((v) => -v / scale ** 2);
    for (let i = 0; i < n; i++) {
      const miss = data.x[i] - sigmoid(w[0] + w[1] * data.c[i]);
      g = [g[0] + miss, g[1] + miss * data.c[i]];
    }
    const det = P[0] * P[2] - P[1] ** 2, step = [(P[2] * g[0] - P[1] * g[1]) / det, (P[0] * g[1] - P[1] * g[0]) / det];
    const tried = [[0, 0], ...from(13, (k) => step.map((v) => v * 0.5 ** k))].map((d) => [w[0] + d[0], w[1] + d[1]]);
    const values = tried.map(([a, b]) => log_joint(a, b));
    w = tried[values.indexOf(Math.max(...values))];
  }
  curvature();
  const det = P[0] * P[2] - P[1] ** 2, S = [P[2] / det, -P[1] / det, P[0] / det];
  const l = Math.sqrt(S[0]), m = S[1] / l, r = Math.sqrt(S[2] - m * m); // the Cholesky factor ((l, 0), (m, r))
  const widest = Math.max(LOGITS, ...data.c.slice(0, n).map((c) => Math.hypot(l + m * c, r * c)));
  const step = Math.min(0.5, LOGITS / widest), half = Math.ceil(REACH / step), top = log_joint(...w), kept = [];
  let mass = 0, first = 0, second = 0;
  for (let i = -half; i <= half; i++) {
    for (let j = -half; j <= half; j++) {
      const a = w[0] + step * i * l, b = w[1] + step * (i * m + j * r), p = Math.exp(log_joint(a, b) - top);
      mass += p;
      first += p * a;
      second += p * b;
      if (p > 1e-5) kept.push([a, b, p]);
    }
  }
  const cell = Math.log(step * step * l * r), total = sum(kept.map((it) => it[2]));
  const predicted = grid.map((c) => sum(kept.map(([a, b, p]) => p * sigmoid(a + b * c))) / total);
  const laplace = top + Math.log(2 * Math.PI * l * r);
  const contour = from(73, (k) => { // on a ray from the mode the density falls: halve an interval
    const [u, v] = [Math.cos((k * Math.PI) / 36), Math.sin((k * Math.PI) / 36)], ray = (t) => [w[0] + t * l * u, w[1] + t * (m * u + r * v)];
    let [low, high] = [0, 60];
    for (let round = 0; round < 40; round++) {
      const middle = (low + high) / 2;
      if (top - log_joint(...ray(middle)) < Math.log(10)) low = middle;
      else high = middle;
    }
    return ray(low);
  });
  const mean = [first / mass, second / mass];
  return { w, S, mean, evidence: top + cell + Math.log(mass), laplace, predicted, contour };
}

const plot = chart(part("points"), 320, () => (
  { x: edge, y: [-0.08, 1.08], xlabel: "covariate c", ylabel: "probability of a 1" }
), (it) => {
  it.curve(grid, solved.predicted, "curve truth");
  it.curve(grid, grid.map((c) => sigmoid(solved.w[0] + solved.w[1] * c)), "curve guide");
  for (let i = 0; i < n; i++) {
    shape("circle", { cx: it.X(data.c[i]), cy: it.Y(data.x[i]), r: 5, class: "mean k0" }, it.field);
  }
});
const weights = chart(part("picture"), 320, () => {
  const around = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)], room = 0.12 * (high - low);
    return [low - room, high + room];
  };
  const { w, S, contour } = solved, far = Math.sqrt(2 * Math.log(10));
  const ends = (k, v) => [w[k] - far * Math.sqrt(v), w[k] + far * Math.sqrt(v)];
  const x = around([...contour.map((it) => it[0]), ...ends(0, S[0])]), y = [...contour.map((it) => it[1]), ...ends(1, S[2])];
  return { x, y: around(y), xlabel: "intercept w₀", ylabel: "slope w₁" };
}, (it) => {
  const { w, S, mean, contour } = solved;
  it.curve(contour.map((at) => at[0]), contour.map((at) => at[1]), "curve truth area");
  it.ellipse(w, [[S[0], S[1]], [S[1], S[2]]], Math.sqrt(2 * Math.log(10)), "curve guide");
  for (const [[a, b], kind] of [[mean, "truth"], [w, "guide"]]) {
    shape("circle", { cx: it.X(a), cy: it.Y(b), r: 5, class: `mean ${kind}` }, it.field);
  }
});

function show() {
  n = Number(slide.value);
  solved = solve();
  const { w, mean, evidence, laplace } = solved, ones = sum(data.x.slice(0, n));
  read("log_evidence", evidence);
  read("laplace", laplace);
  read("intercept", mean[0], 3);
  read("slope", mean[1], 3);
  read("mode", w[1], 3);
  plot.redraw();
  weights.redraw();
  const text = `${n} answers, ${ones} of them 1: the slope has the mean ${number(mean[1], 2)} and the mode `
    + `${number(w[1], 2)}.`;
  set(part("picture"), { "aria-label": `Posterior of intercept and slope, exact and by Laplace. ${text}` });
  set(part("points"), { "aria-label": `Answers and the probability of a 1 by the covariate. ${text}` });
  part("status").textContent = text;
}
slide.addEventListener("input", show);
show();
