// The posterior at the nodes, a guide of a family, and both KLs by the weights of the nodes.
const doubles = (base64) => new Float64Array(bytes(base64).buffer);
const z = doubles(data.z), weight = doubles(data.weight), n = z.length, prior = floats(data.prior);
const exact = floats(data.exact), given = data.guide && floats(data.guide);
const at = (table, i) => table.subarray(i * n, (i + 1) * n);
const slider = part("x"), family = part("family"), inputs = [part("first"), part("second")];
const LOG = 0.5 * Math.log(2 * Math.PI), positive = (f) => (v) => (v > 0 ? f(v) : -Infinity);
const [low, high] = data.edge, span = high - low;

// Each family: names, ranges (those of positive parameters in logarithms), log density, and parameters by mean and sd.
const spread = [Math.log(0.02 * span), Math.log(span)];
const FAMILIES = {
  normal: {
    names: ["mean", "standard deviation"], ranges: [[data.positive ? 0 : low, high], spread], logs: [false, true], of: (m, s) => [m, s],
    density: ([m, s]) => (v) => log_normal(v, m, s),
  },
  "truncated normal": {
    names: ["location", "scale"], ranges: [[-high, high], spread], logs: [false, true], of: (m, s) => [m, s],
    density: ([m, s]) => {
      const inside = log_ndtr(m / s);
      return (v) => (v < 0 ? -Infinity : log_normal(v, m, s) - inside);
    },
  },
  gamma: {
    names: ["shape", "rate"], ranges: [[Math.log(0.5), Math.log(300)], [Math.log(0.1), Math.log(150)]], logs: [true, true],
    of: (m, s) => [(m / s) ** 2, m / s ** 2],
    density: ([a, b]) => {
      const scale = a * Math.log(b) - lgamma(a);
      return positive((v) => scale + (a - 1) * Math.log(v) - b * v);
    },
  },
  "log-normal": {
    names: ["location of log z", "scale of log z"], ranges: [[-4, Math.log(high)], [Math.log(0.03), Math.log(2)]],
    logs: [false, true],
    of: (m, s) => [Math.log(m) - 0.5 * Math.log1p((s / m) ** 2), Math.sqrt(Math.log1p((s / m) ** 2))],
    density: ([m, s]) => positive((v) => log_normal(Math.log(v), m, s) - Math.log(v)),
  },
  exponential: {
    names: ["rate"], ranges: [[Math.log(0.1), Math.log(50)]], logs: [true], of: (m) => [1 / m],
    density: ([b]) => positive((v) => Math.log(b) - b * v),
  },
};
const chosen = () => FAMILIES[family.value]; // undefined for the fitted guide
const log_q = (parameters) => Float64Array.from(z, chosen().density(parameters));

// KL(a || b) over the nodes: infinite where b has no mass.
function kl(a, b) {
  let total = 0;
  for (let i = 0; i < n; i++) {
    const mass = Math.exp(a[i]) * weight[i];
    if (mass > 1e-300) total += mass * (a[i] - b[i]);
  }
  return total;
}
const leaves = () => data.positive && family.value === "normal"; // mass where the posterior has none
const forward = (q, p) => (leaves() ? Infinity : kl(q, p));

// The minimum of f of one or two numbers, by the simplex of Nelder and Mead.
function minimise(f, start) {
  const mix = (a, b, t) => a.map((v, i) => v + t * (b[i] - v)), point = (v) => ({ v, f: f(v) });
  let simplex = [start, ...start.map((_, i) => start.map((v, j) => v + (i === j ? 0.2 : 0)))].map(point);
  for (let round = 0; round < 400; round++) {
    simplex.sort((a, b) => a.f - b.f);
    const worst = simplex.at(-1), rest = simplex.slice(0, -1);
    if (Math.max(...rest.concat(worst).map(({ v }) => Math.hypot(...v.map((w, i) => w - simplex[0].v[i])))) < 1e-8) break;
    const centre = start.map((_, i) => sum(rest.map(({ v }) => v[i])) / rest.length);
    const mirrored = point(mix(centre, worst.v, -1));
    let next = mirrored;
    if (mirrored.f < simplex[0].f) {
      const further = point(mix(centre, worst.v, -2));
      if (further.f < mirrored.f) next = further;
    } else if (mirrored.f >= simplex.at(-2).f) {
      next = point(mix(centre, mirrored.f < worst.f ? mirrored.v : worst.v, 0.5));
      if (next.f >= Math.min(mirrored.f, worst.f)) {
        simplex = simplex.map(({ v }) => point(mix(simplex[0].v, v, 0.5)));
        continue;
      }
    }
    simplex[simplex.length - 1] = next;
  }
  return simplex.sort((a, b) => a.f - b.f)[0].v;
}

let parameters = {}, shown;

function fit(direction) {
  const p = at(exact, Number(slider.value)), { logs } = chosen(), mine = parameters[family.value];
  const from_free = (v) => v.map((w, i) => (logs[i] ? Math.exp(w) : w)), free = mine.map((v, i) => (logs[i] ? Math.log(v) : v));
  parameters[family.value] = from_free(minimise((v) => {
    const q = log_q(from_free(v)), value = direction(q, p);
    return Number.isFinite(value) ? value : 1e9;
  }, free));
  show();
}

// Logarithms between the nodes, by cubic interpolation, for the curves.
const POINTS = 321, zs = from(POINTS, (i) => low + (span * i) / (POINTS - 1));
const places = zs.map((v) => {
  let a = 1, b = n - 3;
  while (b - a > 1) {
    const middle = (a + b) >> 1;
    if (z[middle] <= v) a = middle;
    else b = middle;
  }
  return a;
});
const between = (values) => zs.map((v, j) => {
  if (data.positive && v <= 0) return -Infinity;
  const nodes = [-1, 0, 1, 2].map((i) => places[j] + i);
  if (nodes.some((i) => values[i] === -Infinity)) return values[places[j]];
  return sum(nodes.map((i) => values[i] * nodes.reduce((l, k) => (k === i ? l : (l * (v - z[k])) / (z[i] - z[k])), 1)));
});
const densest = (curve) => Math.max(...curve.filter(Number.isFinite));

const plot = chart(part("picture"), 255, () => {
  const others = Math.max(densest(shown.p), densest(shown.prior));
  const top = 1.08 * Math.max(others, Math.min(densest(shown.q), 3 * others)); // a gamma density may be infinite at 0
  return { x: [low, high], y: [0, top], xlabel: "z", ylabel: "density, per unit of z" };
}, (it) => {
  const drawn = (curve) => curve.map((v) => Math.min(v, 2 * it.view.y[1]));
  it.band(zs, zs.map(() => 0), drawn(shown.p), "area truth");
  it.curve(zs, drawn(shown.prior), "prior");
  it.curve(zs, drawn(shown.p), "curve truth");
  it.curve(zs, drawn(shown.q), "curve guide");
});
const adds = chart(part("parts"), 255, () => {
  const top = Math.max(0.05, ...[shown.forward, shown.reverse].map((curve) => { // a term may be infinite at 0
    const finite = curve.filter(Number.isFinite).sort((a, b) => a - b);
    return Math.min(finite.at(-1), 2.5 * finite[Math.floor(0.98 * finite.length)]);
  }));
  return { x: [low, high], y: [0, 1.1 * top], xlabel: "z", ylabel: "nats per unit of z" };
}, (it) => {
  const drawn = (curve) => curve.map((v) => Math.min(v, 2 * it.view.y[1]));
  it.curve(zs, drawn(shown.reverse), "curve k0");
  it.curve(zs, drawn(shown.forward), "curve k4");
});

function show() {
  const i = Number(slider.value), p = at(exact, i), mine = parameters[family.value];
  const q = chosen() ? log_q(mine) : at(given, i), gap = forward(q, p), back = kl(p, q);
  const fine = { p: between(p), prior: between(prior), q: chosen() ? zs.map(chosen().density(mine)) : between(q) };
  const term = (a, b) => (a === -Infinity ? Math.exp(b) : Math.exp(a) * (a - b) - Math.exp(a) + Math.exp(b));
  shown = Object.fromEntries(Object.entries(fine).map(([name, logs]) => [name, logs.map(Math.exp)]));
  shown.forward = fine.q.map((v, j) => term(v, fine.p[j]));
  shown.reverse = fine.p.map((v, j) => term(v, fine.q[j]));
  read("evidence", data.evidence[i]);
  read("elbo", data.evidence[i] - gap);
  read("forward", gap);
  read("reverse", back);
  inputs.forEach((input, k) => {
    const { names, ranges, logs } = chosen() ?? { names: [] };
    input.parentElement.hidden = k >= names.length;
    if (k >= names.length) return;
    const text = `${names[k]} ${number(mine[k], 3)}`;
    [input.min, input.max] = ranges[k];
    input.value = logs[k] ? Math.log(mine[k]) : mine[k];
    set(input, { "aria-valuetext": text, "data-parameter": mine[k] });
    part(`${["first", "second"][k]}-name`).textContent = text;
  });
  for (const name of ["fit-forward", "fit-reverse"]) part(name).disabled = !chosen();
  if (leaves()) part("fit-forward").disabled = true;
  plot.redraw();
  adds.redraw();
  const x = `x = ${number(data.x[i], 2)}`, name = chosen() ? `q is ${family.value}` : "q is the fitted guide";
  set(slider, { "aria-valuetext": x });
  part("x-name").textContent = `observed ${x}`;
  set(part("picture"), { "aria-label": `Prior, exact posterior and guide over z, at ${x}` });
  set(part("parts"), { "aria-label": `What each z adds to the two KLs, at ${x}` });
  const infinite = leaves() ? " It has mass below 0, where the prior has none: its KL(q ‖ p) is infinite." : back === Infinity
    ? " It has no mass where the posterior has some: its KL(p ‖ q) is infinite." : "";
  part("status").textContent = `At ${x}, ${name}: the ELBO is ${format(gap, 4)} nats below log p(x).${infinite}`;
}

function adopt() { // the moments of the posterior, or those at the right of 0, at first
  if (chosen() && !parameters[family.value]) {
    const p = at(exact, Number(slider.value)), right = from(n, (i) => (z[i] > 0 ? Math.exp(p[i]) * weight[i] : 0));
    const mass = sum(right), mean = sum(right.map((v, i) => v * z[i])) / mass;
    const variance = sum(right.map((v, i) => v * (z[i] - mean) ** 2)) / mass;
    parameters[family.value] = chosen().of(0.8 * mean, 1.3 * Math.sqrt(variance));
  }
  show();
}
inputs.forEach((input, k) => input.addEventListener("input", () => {
  parameters[family.value][k] = chosen().logs[k] ? Math.exp(Number(input.value)) : Number(input.value);
  show();
}));
family.addEventListener("change", adopt);
slider.addEventListener("input", show);
press("fit-forward", () => fit(forward));
press("fit-reverse", () => fit((q, p) => kl(p, q)));
adopt();
