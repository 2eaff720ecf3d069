// Forward-backward and Viterbi in logarithms, and a sequence whose measurements are dragged.
const K = data.mean.length, T = data.sequences[0].length, steps = from(T, (t) => t + 1), COLOURS = 5;
const initial = data.initial.map(Math.log), transition = data.transition.map((row) => row.map(Math.log));
let at = 0, x = data.sequences[0].slice(), solved;
const argmax = (values) => values.indexOf(Math.max(...values)), every = from(K, (k) => k);
const normalised = (logs) => {
  const total = logsumexp(logs);
  return logs.map((v) => Math.exp(v - total));
};

function solve() {
  const emission = x.map((v) => every.map((k) => log_normal(v, data.mean[k], data.scale[k])));
  const alpha = [every.map((k) => initial[k] + emission[0][k])], best = [alpha[0]], back = [];
  for (let t = 1; t < T; t++) {
    const into = (from_, k) => every.map((j) => from_[t - 1][j] + transition[j][k]);
    alpha.push(every.map((k) => logsumexp(into(alpha, k)) + emission[t][k]));
    back.push(every.map((k) => argmax(into(best, k))));
    best.push(every.map((k) => Math.max(...into(best, k)) + emission[t][k]));
  }
  const beta = [every.map(() => 0)];
  for (let t = T - 1; t > 0; t--)
    beta.unshift(every.map((j) => logsumexp(every.map((k) => transition[j][k] + emission[t][k] + beta[0][k]))));
  const path = [argmax(best[T - 1])];
  for (let t = T - 2; t >= 0; t--) path.unshift(back[t][path[0]]);
  const smooth = alpha.map((row, t) => normalised(row.map((v, k) => v + beta[t][k])));
  return { filter: alpha.map(normalised), smooth, path, evidence: logsumexp(alpha[T - 1]), joint: Math.max(...best[T - 1]) };
}

const xs = [0.5, T + 0.5], xticks = steps.map((t) => [t, String(t)]);
const plot = chart(part("sequence"), 330, () => (
  { x: xs, y: [-data.edge, data.edge], xticks, xlabel: "step t", ylabel: "measurement x_t" }
), (it) => {
  data.mean.forEach((m, k) => {
    it.band(xs, [1, 1].map(() => m - data.scale[k]), [1, 1].map(() => m + data.scale[k]), `area k${k % COLOURS}`);
    it.curve(xs, [m, m], `curve level k${k % COLOURS}`);
  });
  const stairs = solved.path.flatMap((k, t) => [[t + 0.5, data.mean[k]], [t + 1.5, data.mean[k]]]);
  it.curve(stairs.map(([t]) => t), stairs.map(([, v]) => v), "chain");
  knobs.forEach(({ element }, t) => set(element, { class: `handle k${argmax(solved.smooth[t]) % COLOURS}` }));
});
const stacked = (name, heading) => chart(part(name), 165, () => (
  { x: xs, y: [0, 1], xticks, yticks: [[0, "0"], [0.5, "0.5"], [1, "1"]], xlabel: "step t", ylabel: "probability", heading }
), (it) => solved[name].forEach((row, t) => {
  let below = 0;
  row.forEach((p, k) => {
    const [y, height] = [it.Y(below + p), it.Y(below) - it.Y(below + p)];
    shape("rect", { x: it.X(t + 0.6), width: it.X(0.8) - it.X(0), y, height, class: `bar k${k % COLOURS}` }, it.field);
    below += p;
  });
}));
const charts = [plot, stacked("filter", "Filtering: the state given x up to step t"),
  stacked("smooth", "Smoothing: the state given all steps")];

const knobs = steps.map((step, t) => handle(plot, {
  label: `Measurement of step ${step}`,
  get: () => [step, x[t]],
  move: ([, v]) => {
    x[t] = clamp(v, -data.edge, data.edge);
    show();
  },
  say: () => `${number(x[t], 2)}, state ${argmax(solved.smooth[t]) + 1}`,
  step: [0, 0.1],
}));

function show() {
  solved = solve();
  const { filter, smooth, path, evidence, joint } = solved, share = Math.exp(joint - evidence);
  read("log_evidence", evidence);
  read("path", joint);
  read("share", share, 3);
  steps.forEach((step, t) => {
    for (const [name, rows] of [["filter", filter], ["smooth", smooth]])
      rows[t].forEach((p, k) => read(`${name}-${step}-${k + 1}`, p, 3));
    read(`path-${step}`, path[t] + 1, 0);
  });
  charts.forEach((it) => it.redraw());
  const corrected = steps.filter((_, t) => argmax(filter[t]) !== argmax(smooth[t])), shown = path.map((k) => k + 1).join(" ");
  const text = `Most probable path: ${shown}, of ${number(100 * share, 0)} % of the posterior probability. ` + (
    corrected.length ? `Later measurements change the state of step ${corrected.join(", ")}.` : "Later measurements change no state."
  );
  set(part("sequence"), { "aria-label": "Measurements, to be dragged, with the levels of the states" });
  for (const name of ["filter", "smooth"]) set(part(name), { "aria-label": `${name}ing probabilities of the states. ${text}` });
  part("status").textContent = text;
}

const start = (i) => () => {
  at = i() % data.sequences.length;
  x = data.sequences[at].slice();
  show();
};
press("next", start(() => at + 1));
press("again", start(() => at));
show();
