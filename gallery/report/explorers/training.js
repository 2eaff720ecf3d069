// The model after a step: x = W z + sigma e with fixed noise, the ellipse of its covariance, evidence, ELBO and gap.
const slider = part("step"), last = data.steps.length - 1, [d, l] = data.shape, PAUSE = 90; // a step, in milliseconds
const W = floats(data.W), sigma = floats(data.sigma), noise = floats(data.noise), draws = noise.length / (l + d);
const name = (i) => `x${String.fromCharCode(0x2081 + i)}`, edge = [-data.edge, data.edge];
const elbo = data.evidence.map((value, k) => value - data.gap[k]);
let timer = null;

const w = (i, j) => W[(at() * d + i) * l + j], s = (i) => sigma[at() * d + i], at = () => Number(slider.value);
const covariance = (i, j) => (i === j ? s(i) ** 2 : 0) + sum(from(l, (m) => w(i, m) * w(j, m)));
const draw = (i, r) => s(i) * noise[r * (l + d) + l + i] + sum(from(l, (m) => w(i, m) * noise[r * (l + d) + m]));

const views = data.views.map(([i, j], k) => chart(part(`view-${k}`), 250, () => (
  { x: edge, y: edge, xlabel: name(i), ylabel: name(j) }
), (it) => {
  for (const x of data.seen) shape("circle", { cx: it.X(x[i]), cy: it.Y(x[j]), r: 2, class: "seen" }, it.field);
  for (let r = 0; r < draws; r++) {
    const [cx, cy] = [it.X(draw(i, r)).toFixed(2), it.Y(draw(j, r)).toFixed(2)];
    shape("circle", { cx, cy, r: 2, class: "drawn" }, it.field);
  }
  const both = [[covariance(i, i), covariance(i, j)], [covariance(i, j), covariance(j, j)]];
  it.ellipse([0, 0], both, 2, "prior");
}));

const along = data.steps.map((step) => Math.log10(step + 1)), xs = [0, along[last]];
const xticks = [0, 1, 10, 100, 1000, 10000].filter((t) => t <= data.steps[last]).map((t) => [Math.log10(t + 1), String(t)]);
const now = (it) => shape("path", { d: `M${it.X(along[at()])} 0V400`, class: "cross" }, it.field);
const high = Math.max(...data.evidence, ...elbo, data.truth ?? -Infinity), low = Math.max(Math.min(...elbo), high - 5);
const curves = chart(part("curve"), 230, () => (
  { x: xs, y: [low, high + 0.06 * (high - low)], xticks, xlabel: "step", ylabel: "nats per data point" }
), (it) => {
  if (data.truth !== null) it.curve(xs, [data.truth, data.truth], "prior");
  it.curve(along, data.evidence, "curve truth");
  it.curve(along, elbo, "curve guide");
  now(it);
});
const gaps = data.gap.map((gap) => Math.log10(Math.max(gap, 1e-9)));
const ends = [Math.floor(Math.min(...gaps)), Math.ceil(Math.max(...gaps))], every = Math.ceil((ends[1] - ends[0]) / 5);
const exponent = (power) => [power, Math.abs(power) < 4 ? String(10 ** power) : `1e${number(power, 0)}`];
const yticks = from(Math.floor((ends[1] - ends[0]) / every) + 1, (i) => exponent(ends[0] + i * every));
const missing = chart(part("gaps"), 230, () => ({ x: xs, y: ends, xticks, yticks, xlabel: "step", ylabel: "gap, nats" }), (it) => {
  it.curve(along, gaps, "curve k4");
  now(it);
});

const most = Math.max(...data.covariance.flat().map(Math.abs));
function cell(which, i, j, value) {
  read(`${which}-${i}-${j}`, value, 2);
  const { style } = root.querySelector(`[data-number="${which}-${i}-${j}"]`);
  style.setProperty("--hue", value < 0 ? "var(--orange)" : "var(--blue)");
  style.setProperty("--share", `${Math.min(60, (60 * Math.abs(value)) / most).toFixed(0)}%`);
}

function show() {
  const k = at(), step = `step ${data.steps[k]}`;
  let off = 0;
  data.covariance.forEach((row, i) => row.forEach((value, j) => {
    cell("model", i, j, covariance(i, j));
    cell("other", i, j, value);
    off = Math.max(off, Math.abs(covariance(i, j) - value));
  }));
  read("log_evidence", data.evidence[k]);
  read("elbo", elbo[k]);
  read("gap", data.gap[k]);
  read("off", off, 3);
  if (data.truth !== null) read("below", data.truth - data.evidence[k]);
  for (const it of [...views, curves, missing]) it.redraw();
  data.views.forEach(([i, j], v) => (
    set(part(`view-${v}`), { "aria-label": `Data and draws from the model, ${name(i)} and ${name(j)}, after ${step}` })
  ));
  set(slider, { "aria-valuetext": step });
  set(part("curve"), { "aria-label": `Evidence and ELBO over the steps, at ${step}` });
  set(part("gaps"), { "aria-label": `Gap over the steps, at ${step}` });
  if (timer) return; // not while playing
  part("status").textContent = `After ${step}: log p(x) = ${number(data.evidence[k], 4)} nats, `
    + `ELBO = ${number(elbo[k], 4)}, gap = ${number(data.gap[k], 4)}.`;
}

function stop() {
  clearInterval(timer);
  timer = null;
  part("play").textContent = still ? "Next step" : "Play";
}

press("play", () => {
  if (still) { // with reduced motion the button shows the next step
    slider.value = at() < last ? at() + 1 : 0;
    return show();
  }
  if (timer) stop();
  else {
    if (at() === last) slider.value = 0;
    timer = setInterval(() => {
      slider.value = at() + 1;
      if (at() === last) stop();
      show();
    }, PAUSE);
    part("play").textContent = "Pause";
  }
  show();
});
slider.addEventListener("input", () => {
  stop();
  show();
});
stop();
show();
