// A mixture of normals: its responsibilities, log p(x), and EM steps as in the library.
const K = data.weights.length, names = ["--blue", "--orange", "--green", "--red", "--violet"], TINY = 2 ** -1022;
const slider = part("point"), PAUSE = 180; // a step, in milliseconds
let weights, mean, scale, history, timer = null, state;

function begin() {
  [weights, mean, scale] = [data.weights.slice(), data.mean.map((m) => m.slice()), data.scale.map((s) => s.slice())];
  history = [];
}

function e_step() {
  const joint = data.x.map(([a, b]) => from(K, (k) => (
    Math.log(weights[k]) + log_normal(a, mean[k][0], scale[k][0]) + log_normal(b, mean[k][1], scale[k][1])
  )));
  const each = joint.map(logsumexp), n = data.x.length;
  return { r: joint.map((row, i) => row.map((v) => Math.exp(v - each[i]))), evidence: sum(each) / n };
}

function m_step(r) {
  for (let k = 0; k < K; k++) {
    const total = Math.max(sum(r.map((row) => row[k])), TINY), average = (of) => sum(r.map((row, i) => row[k] * of(i))) / total;
    weights[k] = total / r.length;
    for (const d of [0, 1]) {
      mean[k][d] = average((i) => data.x[i][d]);
      scale[k][d] = Math.sqrt(Math.max(average((i) => data.x[i][d] ** 2) - mean[k][d] ** 2, 1e-6)); // as the library's
    }
  }
  const all = sum(weights);
  weights = weights.map((w) => w / all);
}

function mixed(row, colours) { // the colour of a data point
  const parts = [0, 1, 2].map((c) => Math.round(sum(row.map((r, k) => r * colours[k % colours.length][c]))));
  return `rgb(${parts})`;
}

const plot = chart(part("picture"), 360, () => (
  { x: data.edge[0], y: data.edge[1], xlabel: "x₁", ylabel: "x₂" }
), (it) => {
  const style = getComputedStyle(root);
  const colours = names.map((name) => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi).map((c) => parseInt(c, 16)));
  data.x.forEach(([a, b], i) => {
    const dot = shape("circle", { cx: it.X(a), cy: it.Y(b), r: 4 }, it.field);
    dot.style.fill = mixed(state.r[i], colours);
  });
  for (let k = 0; k < K; k++)
    for (const sds of [1, 2])
      it.ellipse(mean[k], [[scale[k][0] ** 2, 0], [0, scale[k][1] ** 2]], sds, `curve contour k${k % names.length}`);
  const [a, b] = data.x[slider.value - 1];
  shape("circle", { cx: it.X(a), cy: it.Y(b), r: 8, class: "ring" }, it.field);
});
const curve = chart(part("history"), 360, () => {
  const low = Math.min(...history), high = Math.max(...history), pad = Math.max(0.08 * (high - low), 0.05);
  const last = Math.max(10, history.length - 1), x = [-0.04 * last, 1.04 * last];
  const xticks = ticks([0, last], 8).filter(([value]) => Number.isInteger(value));
  return { x, xticks, y: [low - pad, high + pad], xlabel: "EM step", ylabel: "log p(x), nats per data point" };
}, (it) => {
  it.curve(history.map((_, i) => i), history, "curve truth");
  history.forEach((v, i) => shape("circle", { cx: it.X(i), cy: it.Y(v), r: 3.5, class: "mean truth" }, it.field));
});

from(K, (k) => handle(plot, {
  label: `Mean of component ${k + 1}`,
  kind: `k${k % names.length}`,
  get: () => mean[k],
  move: ([a, b]) => {
    stop();
    mean[k] = [clamp(a, ...data.edge[0]), clamp(b, ...data.edge[1])];
    history = [];
    show();
  },
  say: () => `${number(mean[k][0], 2)}, ${number(mean[k][1], 2)}, weight ${number(weights[k], 2)}`,
  step: [0.1, 0.1],
}));

function show() {
  state = e_step();
  if (!history.length) history = [state.evidence];
  read("log_evidence", state.evidence);
  read("steps", history.length - 1, 0);
  weights.forEach((w, k) => read(`weight-${k + 1}`, w, 3));
  const i = Number(slider.value), [a, b] = data.x[i - 1];
  state.r[i - 1].forEach((r, k) => read(`responsibility-${k + 1}`, r, 3));
  set(slider, { "aria-valuetext": `data point ${i} at ${number(a, 2)}, ${number(b, 2)}` });
  plot.redraw();
  curve.redraw();
  const text = `After ${history.length - 1} EM steps: log p(x) = ${number(state.evidence, 4)} nats per data point.`;
  set(part("picture"), { "aria-label": `Data points by responsibility, and the components. ${text}` });
  set(part("history"), { "aria-label": `log p(x) after each EM step. ${text}` });
  const rise = history.length > 1 ? history.at(-1) - history.at(-2) : 0;
  const more = history.length > 1 ? ` The last step added ${rise < 1e-4 ? "less than 0.0001" : number(rise, 4)}.` : "";
  if (!timer) part("status").textContent = text + more; // not while playing
}

function step() {
  m_step(state.r);
  history.push(e_step().evidence);
  show();
}

function stop() {
  clearInterval(timer);
  timer = null;
  part("play").textContent = "20 EM steps";
}

press("step", () => { stop(); step(); });
press("play", () => {
  if (timer) return stop();
  let left = 20;
  if (still) {
    while (left--) step();
    return;
  }
  part("play").textContent = "Pause";
  timer = setInterval(() => {
    if (--left === 0) stop();
    step();
  }, PAUSE);
  step();
  left--;
});
press("again", () => { stop(); begin(); show(); });
slider.addEventListener("input", show);
begin();
show();
