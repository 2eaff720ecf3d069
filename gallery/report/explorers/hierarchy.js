// Given the spread all is normal: means and intervals in closed form; the spread itself by a sum over log tau.
const NINETY = 1.6448536269514722, { x, c } = data, n = x.length, letters = "ABCDEFGHIJ";
const slide = part("tau"), spread = () => (data.reach * Number(slide.value)) / data.steps;

function known(tau) {
  const v = c.map((s) => tau * tau + s * s), precision = data.mu_scale ** -2 + sum(v.map((w) => 1 / w));
  const mean = sum(x.map((value, i) => value / v[i])) / precision;
  const squares = sum(x.map((value, i) => (value - mean) ** 2 / v[i] + Math.log(2 * Math.PI * v[i])));
  const log_x = -0.5 * (squares + (mean / data.mu_scale) ** 2 + Math.log(data.mu_scale ** 2 * precision));
  const share = v.map((w) => (tau * tau) / w), effect = share.map((b, i) => b * x[i] + (1 - b) * mean);
  const sd = share.map((b, i) => Math.sqrt(b * c[i] ** 2 + (1 - b) ** 2 / precision));
  return { log_x, mean, share, effect, sd };
}
const log_prior = (tau) => Math.log(2 / (Math.PI * data.tau_scale)) - Math.log1p((tau / data.tau_scale) ** 2);

const nodes = from(577, (i) => data.tau_scale * Math.exp((i - 288) / 8)), at = nodes.map(known);
const masses = nodes.map((tau, i) => at[i].log_x + log_prior(tau) + Math.log(tau / 8));
const evidence = logsumexp(masses), weights = masses.map((mass) => Math.exp(mass - evidence));
const means = x.map((_, i) => sum(weights.map((w, k) => w * at[k].effect[i])));
const density = (tau) => Math.exp(known(tau).log_x + log_prior(tau) - evidence);

const taus = from(121, (i) => (data.reach * i) / 120), along = taus.map(known), heights = taus.map(density);
const every = along.flatMap((it) => it.effect), edge = [Math.min(...every), Math.max(...every)];
const floor = edge[0] - 0.35 * (edge[1] - edge[0]), tall = 0.3 * (edge[1] - edge[0]), most = Math.max(...heights);
const paths = chart(part("paths"), 320, () => (
  { x: [0, data.reach], y: [floor, edge[1] + 3], xlabel: "spread τ", ylabel: "E[θ | τ, x]" }
), (it) => {
  const { X, Y, field } = it, tau = spread();
  it.band(taus, taus.map(() => floor), heights.map((p) => floor + (tall * p) / most), "area truth");
  const ends = along.at(-1).effect, rank = (i) => ends.filter((end) => end > ends[i]).length;
  x.forEach((_, i) => {
    it.curve(taus, along.map((of) => of.effect[i]), "curve k0");
    const place = { x: X(data.reach) - 4 - 16 * (rank(i) % 4), y: Y(ends[i]) - 4, "text-anchor": "end" };
    shape("text", place, field, letters[i]);
  });
  it.curve(taus, along.map((of) => of.mean), "prior");
  shape("path", { d: `M${X(tau)} 0V400`, class: "cross" }, field);
});
const shown = chart(part("picture"), 320, () => {
  const ends = x.flatMap((value, i) => [value - NINETY * c[i], value + NINETY * c[i]]);
  const xticks = x.map((_, i) => [i + 1, letters[i]]);
  return { x: [0.4, n + 0.6], y: [Math.min(...ends) - 3, Math.max(...ends) + 3], xticks, xlabel: "school", ylabel: "effect" };
}, ({ X, Y, field }) => {
  const { effect, sd } = known(spread());
  const stroke = (place, mean, half, kind) => {
    shape("path", { d: `M${X(place)} ${Y(mean - half)}V${Y(mean + half)}`, class: `interval ${kind}` }, field);
    shape("circle", { cx: X(place), cy: Y(mean), r: 5, class: `mean ${kind}` }, field);
  };
  x.forEach((value, i) => {
    stroke(i + 0.8, value, NINETY * c[i], "grey");
    stroke(i + 1.1, effect[i], NINETY * sd[i], "guide");
    shape("circle", { cx: X(i + 1.35), cy: Y(means[i]), r: 5, class: "mean truth" }, field);
  });
});

function show() {
  const tau = spread(), { log_x, mean, share, effect, sd } = known(tau);
  read("tau", tau, 2);
  read("density", density(tau));
  read("mu", mean, 2);
  read("log_x", log_x);
  read("log_evidence", evidence);
  x.forEach((value, i) => {
    const it = letters[i];
    read(`x-${it}`, value, 0);
    read(`share-${it}`, share[i], 2);
    read(`effect-${it}`, effect[i], 2);
    read(`low-${it}`, effect[i] - NINETY * sd[i], 1);
    read(`high-${it}`, effect[i] + NINETY * sd[i], 1);
    read(`mean-${it}`, means[i], 2);
  });
  paths.redraw();
  shown.redraw();
  const [low, high] = [Math.min(...effect), Math.max(...effect)].map((v) => number(v, 1));
  const text = `At τ = ${number(tau, 2)} the effects have means from ${low} to ${high}; their estimates go from `
    + `${number(Math.min(...x), 0)} to ${number(Math.max(...x), 0)}.`;
  set(part("picture"), { "aria-label": `Estimates and effects of ${n} schools. ${text}` });
  set(part("paths"), { "aria-label": `Posterior mean of every effect against the spread, and its posterior. ${text}` });
  part("status").textContent = text;
}
slide.addEventListener("input", show);
show();
