// Counts that are dragged, and the posterior Dirichlet(concentration + counts) with the intervals of its marginals.
const K = data.concentration.length, faces = from(K, (k) => k + 1), tail = (1 - data.level) / 2;
const MOST = 10_000; // throws of a face
let counts = data.few.slice(), top = 0;
const settle = () => { top = Math.max(10, Math.ceil(1.3 * Math.max(...counts))); };
const log_beta = (a) => sum(a.map(lgamma)) - lgamma(sum(a));
const xticks = faces.map((face) => [face, String(face)]);

function marginals(a) { // mean and interval of each face
  const total = sum(a), quantile = (p) => a.map((v) => beta_quantile(v, total - v, p));
  return { mean: a.map((v) => v / total), low: quantile(tail), high: quantile(1 - tail) };
}
const prior = marginals(data.concentration);
let posterior = prior;

const bars = chart(part("counts"), 270, () => {
  const y = [0, top], yticks = ticks(y, 5).filter(([value]) => Number.isInteger(value));
  return { x: [0.4, K + 0.6], y, xticks, yticks, xlabel: "face", ylabel: "throws" };
}, ({ X, Y, field }) => {
  faces.forEach((face, k) => {
    const box = { x: X(face - 0.32), width: X(0.64) - X(0) };
    const column = shape("rect", { x: X(face - 0.5), width: X(1) - X(0), y: 0, height: 400, class: "reach" }, field);
    column.addEventListener("click", (event) => {
      change(k, bars.at(event)[1]);
      settle();
      show();
    });
    shape("rect", { ...box, y: Y(counts[k]), height: Y(0) - Y(counts[k]), class: "k0 bar" }, field);
  });
});
const shown = chart(part("picture"), 270, () => {
  const high = Math.max(...posterior.high, ...prior.high, ...(data.truth ?? []));
  return { x: [0.4, K + 0.6], y: [0, Math.min(1, 1.08 * high)], xticks, xlabel: "face", ylabel: "probability" };
}, ({ X, Y, field }) => {
  const stroke = (at, { mean, low, high }, k, kind) => {
    shape("path", { d: `M${X(at)} ${Y(low[k])}V${Y(high[k])}`, class: `interval ${kind}` }, field);
    shape("circle", { cx: X(at), cy: Y(mean[k]), r: 5, class: `mean ${kind}` }, field);
  };
  faces.forEach((face, k) => {
    stroke(face - 0.14, prior, k, "grey");
    stroke(face + 0.14, posterior, k, "truth");
    if (data.truth) {
      const [x, y] = [X(face + 0.36), Y(data.truth[k])];
      shape("path", { d: `M${x} ${y - 6}l6 6l-6 6l-6 -6z`, class: "diamond" }, field);
    }
  });
});

function change(k, value) {
  counts[k] = clamp(Math.round(value), 0, MOST);
  show();
}
faces.forEach((face, k) => handle(bars, {
  label: `Throws of face ${face}`,
  kind: "k0",
  get: () => [face, counts[k]],
  move: ([, y]) => change(k, Math.min(y, top)),
  say: () => `${counts[k]} throws`,
  step: [0, 1],
  done: () => { settle(); show(); },
}));

function show() {
  const a = counts.map((n, k) => n + data.concentration[k]), n = sum(counts);
  posterior = marginals(a);
  const evidence = log_beta(a) - log_beta(data.concentration), fair = -n * Math.log(K);
  read("log_evidence", evidence);
  read("fair", fair);
  read("factor", evidence - fair);
  faces.forEach((face, k) => {
    read(`count-${face}`, counts[k], 0);
    for (const name of ["mean", "low", "high"]) read(`${name}-${face}`, posterior[name][k], 3);
  });
  bars.redraw();
  shown.redraw();
  const most = posterior.mean.indexOf(Math.max(...posterior.mean));
  const range = `${number(posterior.low[most], 2)} to ${number(posterior.high[most], 2)}`;
  const text = `${n} throws. Most probable: face ${most + 1}, ${100 * data.level} % from ${range}.`;
  set(part("picture"), { "aria-label": `Probability of each face under prior and posterior. ${text}` });
  part("status").textContent = n ? text : "No throws: the posterior is the prior.";
}

const start = (values) => () => {
  counts = values.slice();
  settle();
  show();
};
press("few", start(data.few));
press("all", start(data.all));
press("none", start(counts.map(() => 0)));
settle();
show();
