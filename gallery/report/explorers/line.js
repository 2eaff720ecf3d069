// Points that are dragged, the exact posterior Normal(m, S) of intercept and slope, and the best mean-field guide.
const NINETY = 1.6448536269514722, CONTOUR = Math.sqrt(-2 * Math.log(0.1)), MOST = 60; // sds; points
const [edge, height] = data.edges, grid = from(81, (i) => edge * (i / 40 - 1));
let dots = [], solved;

function solve() {
  const cs = dots.map(([c]) => c), xs = dots.map(([, x]) => x), v = data.noise ** 2, prior = data.prior_scale ** -2;
  const P = [prior + cs.length / v, sum(cs) / v, prior + sum(cs.map((c) => c * c)) / v]; // the precision, S⁻¹
  const h = [sum(xs) / v, sum(cs.map((c, i) => c * xs[i])) / v], det = P[0] * P[2] - P[1] ** 2;
  const S = [P[2] / det, -P[1] / det, P[0] / det], m = [S[0] * h[0] + S[1] * h[1], S[1] * h[0] + S[2] * h[1]];
  const squares = sum(xs.map((x) => x * x)) / v - m[0] * h[0] - m[1] * h[1];
  const evidence = -0.5 * (xs.length * Math.log(2 * Math.PI * v) + Math.log(det / prior ** 2) + squares);
  const gap = 0.5 * Math.log((P[0] * P[2]) / det), D = cs.length * sum(cs.map((c) => c * c)) - sum(cs) ** 2;
  const slope = (cs.length * sum(cs.map((c, i) => c * xs[i])) - sum(cs) * sum(xs)) / D;
  const least = D > 1e-9 ? [(sum(xs) - slope * sum(cs)) / cs.length, slope] : null;
  return { m, S, field: [1 / P[0], 1 / P[2]], evidence, gap, least };
}

const plot = chart(part("points"), 320, () => (
  { x: [-edge, edge], y: [-height, height], xlabel: "covariate c", ylabel: "response x" }
), (it) => {
  const { m, S, field, least } = solved, mean = grid.map((c) => m[0] + m[1] * c);
  const ends = (sign, sd) => grid.map((c, i) => mean[i] + sign * NINETY * sd(c));
  const exact = (c) => Math.sqrt(S[0] + 2 * c * S[1] + c * c * S[2]);
  const guide = (c) => Math.sqrt(field[0] + c * c * field[1]);
  it.band(grid, ends(-1, exact), ends(1, exact), "area truth");
  it.curve(grid, mean, "curve truth");
  for (const sign of [-1, 1]) it.curve(grid, ends(sign, guide), "curve guide");
  if (least) it.curve([-edge, edge], [least[0] - edge * least[1], least[0] + edge * least[1]], "prior");
});
const weights = chart(part("picture"), 320, () => {
  const around = (mean, variance) => { // rounded, so that it stands still while the numbers move a little
    const half = 2 ** Math.ceil(Math.log2(2.6 * Math.sqrt(variance))), middle = Math.round(mean / half * 2) * half / 2;
    return [middle - half, middle + half];
  };
  const { m, S } = solved;
  return { x: around(m[0], S[0]), y: around(m[1], S[2]), xlabel: "intercept w₀", ylabel: "slope w₁" };
}, (it) => {
  const { m, S, field } = solved;
  set(it.ellipse(m, [[S[0], S[1]], [S[1], S[2]]], CONTOUR, "curve truth"), { class: "curve truth area" });
  it.ellipse(m, [[field[0], 0], [0, field[1]]], CONTOUR, "curve guide");
  shape("circle", { cx: it.X(m[0]), cy: it.Y(m[1]), r: 4, class: "mean truth" }, it.field);
});

function show() {
  solved = solve();
  const { m, S, evidence, gap } = solved;
  read("log_evidence", evidence);
  read("elbo", evidence - gap);
  read("gap", gap);
  read("intercept", m[0], 3);
  read("slope", m[1], 3);
  plot.redraw();
  weights.redraw();
  const correlation = S[1] / Math.sqrt(S[0] * S[2]), sds = [S[0], S[2]].map((v) => number(Math.sqrt(v), 3));
  const text = `${dots.length} points: intercept ± ${sds[0]}, slope ± ${sds[1]} (standard deviations), `
    + `correlation ${number(correlation, 2)}.`;
  set(part("picture"), { "aria-label": `Posterior of intercept and slope, and the best mean-field guide. ${text}` });
  part("status").textContent = text;
}

function add(point) {
  if (dots.length >= MOST) return;
  const dot = point.slice();
  dots.push(dot);
  dot.handle = handle(plot, {
    label: "Data point",
    kind: "k0",
    get: () => dot,
    move: ([c, x]) => {
      [dot[0], dot[1]] = [clamp(c, -edge, edge), clamp(x, -height, height)];
      show();
    },
    say: () => `covariate ${number(dot[0], 2)}, response ${number(dot[1], 2)}`,
    step: [0.1, 0.1],
    remove: () => remove(dot),
  });
  dot.handle.element.addEventListener("dblclick", () => remove(dot));
}

function remove(dot) {
  const focused = dot.handle.element === document.activeElement;
  dots = dots.filter((other) => other !== dot);
  drop(plot, dot.handle);
  show();
  if (focused) dots.at(-1)?.handle.element.focus();
}

const start = (values) => () => {
  const chosen = values();
  for (const dot of dots) drop(plot, dot.handle);
  dots = [];
  chosen.forEach(add);
  show();
};
part("points").addEventListener("click", (event) => {
  const [c, x] = plot.at(event);
  if (event.target.closest(".handle") || Math.abs(c) > edge || Math.abs(x) > height) return;
  add([c, x]);
  show();
});
press("few", start(() => data.points));
press("two", start(() => data.points.slice(0, 2)));
press("none", start(() => []));
press("shift", start(() => {
  const mean = dots.length ? sum(dots.map(([c]) => c)) / dots.length : 0;
  return dots.map(([c, x]) => [c - mean, x]);
}));
press("add", () => {
  const c = edge * (((dots.length * 0.618) % 1) * 1.6 - 0.8);
  add([c, clamp(solved.m[0] + solved.m[1] * c, -height, height)]);
  show();
});
press("remove", () => dots.length && remove(dots.at(-1)));
start(() => data.points)();
