// The model after a step: x = W z + sigma e with fixed noise, the ellipse of its covariance, and the curves.
const slider = part("step"), curve = part("curve"), last = data.steps.length - 1, [d, l] = data.shape;
const W = floats(data.W), sigma = floats(data.sigma), noise = floats(data.noise), draws = noise.length / (l + d);
const X = line([-data.edge, data.edge], [0, 150]), Y = line([-data.edge, data.edge], [150, 0]);
const name = (i) => `x${String.fromCharCode(0x2081 + i)}`;

const views = data.views.map(([i, j], k) => {
  const view = part(`view-${k}`);
  for (const x of data.seen) shape("circle", { cx: X(x[i]), cy: Y(x[j]), r: 1.2, class: "seen" }, view);
  const drawn = Array.from({ length: draws }, () => shape("circle", { r: 1.2, class: "drawn" }, view));
  const ellipse = shape("polyline", { class: "prior" }, view);
  shape("text", { x: 147, y: 145, "text-anchor": "end" }, view, name(i));
  shape("text", { x: 4, y: 12 }, view, name(j));
  return { view, i, j, drawn, ellipse };
});

const elbo = data.evidence.map((value, k) => value - data.gap[k]);
const top = Math.max(...data.evidence, ...elbo, data.truth ?? -Infinity), low = Math.max(Math.min(...elbo), top - 8);
const S = line([0, last], [0, 312]), V = line([low, top + 0.05 * (top - low)], [108, 4]);
for (const v of [low, (low + top) / 2, top]) {
  shape("text", { x: 36, y: V(v) + 4, "text-anchor": "end" }, curve, number(v, 1));
  shape("path", { d: `M40 ${V(v)}H352`, class: "faint" }, curve);
}
// The field clips curves: the ELBO may start far below it.
const field = shape("svg", { x: 40, y: 0, width: 312, height: 108, "aria-hidden": true }, curve);
const over = (values) => points(values.map((_, k) => S(k)), values.map(V));
if (data.truth !== null) shape("path", { d: `M40 ${V(data.truth)}H352`, class: "prior" }, curve);
shape("polyline", { points: over(data.evidence), class: "curve truth" }, field);
shape("polyline", { points: over(elbo), class: "curve guide" }, field);
shape("text", { x: 346, y: 90, "text-anchor": "end", class: "truth" }, curve, "log p(x)");
shape("text", { x: 346, y: 104, "text-anchor": "end", class: "guide" }, curve, "ELBO");
for (const [k, anchor] of [[0, "start"], [Math.round(last / 2), "middle"], [last, "end"]])
  shape("text", { x: 40 + S(k), y: 124, "text-anchor": anchor }, curve, `step ${data.steps[k]}`);
const now = shape("path", { class: "cross" }, field);

function show() {
  const k = Number(slider.value), step = `step ${data.steps[k]}`;
  const w = (i, j) => W[(k * d + i) * l + j], s = (i) => sigma[k * d + i];
  const covariance = (i, j) => {
    let sum = i === j ? s(i) ** 2 : 0;
    for (let m = 0; m < l; m++) sum += w(i, m) * w(j, m);
    return sum;
  };
  for (const { view, i, j, drawn, ellipse } of views) {
    drawn.forEach((circle, r) => {
      const x = [i, j].map((at) => {
        let sum = s(at) * noise[r * (l + d) + l + at];
        for (let m = 0; m < l; m++) sum += w(at, m) * noise[r * (l + d) + m];
        return sum;
      });
      set(circle, { cx: X(x[0]).toFixed(2), cy: Y(x[1]).toFixed(2) });
    });
    const a = Math.sqrt(covariance(i, i)), b = covariance(i, j) / a; // the Cholesky factor ((a, 0), (b, c))
    const c = Math.sqrt(Math.max(covariance(j, j) - b * b, 0));
    const angles = Array.from({ length: 61 }, (_, m) => (m * Math.PI) / 30);
    const right = angles.map((t) => X(2 * a * Math.cos(t)));
    const up = angles.map((t) => Y(2 * (b * Math.cos(t) + c * Math.sin(t))));
    set(ellipse, { points: points(right, up) });
    set(view, { "aria-label": `Data and draws from the model, ${name(i)} and ${name(j)}, after ${step}` });
  }
  set(now, { d: `M${S(k)} 4V108` });
  set(slider, { "aria-valuetext": step });
  set(curve, { "aria-label": `Evidence and ELBO over the steps, at ${step}` });
  const [evidence, below] = [data.evidence[k], data.truth - data.evidence[k]];
  const truth = data.truth === null ? "" : `, ${number(below, 4)} below the true model`;
  part("status").textContent = `After ${step}: log p(x) = ${number(evidence, 4)} nats${truth}; `
    + `ELBO = ${number(elbo[k], 4)}, gap = ${number(data.gap[k], 4)}.`;
}

slider.addEventListener("input", show);
show();
