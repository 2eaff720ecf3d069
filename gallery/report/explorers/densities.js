// Curves over z at the position of the slider, and the numbers of that x.
const picture = part("picture"), slider = part("x"), n = data.z.length;
const X = line([data.z[0], data.z[n - 1]], [8, 352]), Y = line([0, data.top], [196, 4]), zs = data.z.map(X);
const prior = floats(data.prior), exact = floats(data.exact), guide = floats(data.guide);
const at = (curve, i) => points(zs, Array.from(curve.subarray(i * n, (i + 1) * n), Y));

shape("path", { d: "M8 196H352", class: "faint" }, picture);
for (let tick = Math.ceil(data.z[0] - 0.01); tick <= data.z[n - 1]; tick += Math.ceil((data.z[n - 1] - data.z[0]) / 8))
  shape("text", { x: X(tick), y: 212, "text-anchor": "middle" }, picture, number(tick, 0));
shape("text", { x: 352, y: 190, "text-anchor": "end" }, picture, "z");
shape("polyline", { points: at(prior, 0), class: "curve" }, picture);
const curves = { truth: exact, guide };
for (const name in curves) curves[name] = [shape("polyline", { class: `curve ${name}` }, picture), curves[name]];
const names = [["", "prior p(z)"], ["truth", "exact posterior p(z | x)"], ["guide", "fitted guide q(z | x)"]];
names.forEach(([name, text], i) =>
  shape("text", { x: 352, y: 18 + 15 * i, "text-anchor": "end", class: name }, picture, text));

function show() {
  const i = Number(slider.value), value = (name, digits) => number(data[name][i], digits);
  for (const [drawn, curve] of Object.values(curves)) set(drawn, { points: at(curve, i) });
  const x = `x = ${value("x", 2)}`;
  const digits = clamp(1 - Math.floor(Math.log10(data.error[i])), 4, 8); // two of the error
  set(slider, { "aria-valuetext": x });
  set(picture, { "aria-label": `Prior, exact posterior and fitted guide over z, at ${x}` });
  const gap = `${value("gap", digits)} ± ${value("error", digits)}`;
  part("status").textContent = `${x}: log p(x) = ${value("evidence", 4)} nats, ELBO = ${value("elbo", 4)}, gap = ${gap}`;
}

slider.addEventListener("input", show);
show();
