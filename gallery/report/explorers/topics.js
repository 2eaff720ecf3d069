// Topics: a document on a grid of words that is edited, and its posterior by the coordinate ascent of the library.
const [rows, columns] = data.shape, V = rows * columns, beta = floats(data.topics), weights = floats(data.weights);
const K = beta.length / V, chosen = part("topic"), slide = part("alpha"), CELL = 40;
const sheet = part("document"), remove = part("remove");
const every = from(K, (k) => k), kinds = from(V, (v) => v), largest = Math.max(...beta);
let x = data.x[0].slice(), example = 0, pen = 0, at = data.steps, alpha, steps;

const mixed = (share, of) => kinds.map((v) => sum(every.map((k) => share[k] * of[k * V + v])));

function step(gamma) { // each word is dealt to the topics, each topic adds up what it has received
  const weight = gamma.map((g) => Math.exp(digamma(g)));
  const words = mixed(weight, weights).map((w) => Math.max(w, 1e-60));
  return every.map((k) => alpha + weight[k] * sum(kinds.map((v) => (x[v] / words[v]) * weights[k * V + v])));
}

function bound(gamma) { // of q(theta) q(z), with the best q(z)
  const total = sum(gamma), log_theta = gamma.map((g) => digamma(g) - digamma(total));
  const kl = lgamma(total) - sum(gamma.map(lgamma)) - lgamma(K * alpha) + K * lgamma(alpha)
    + sum(gamma.map((g, k) => (g - alpha) * log_theta[k]));
  const words = mixed(log_theta.map(Math.exp), weights);
  const value = sum(kinds.map((v) => x[v] && x[v] * Math.log(Math.max(words[v], Number.MIN_VALUE)))) - kl;
  return { gamma, kl, value };
}

function solve() {
  steps = [bound(Array(K).fill(alpha + sum(x) / K))];
  while (steps.length <= data.steps) steps.push(bound(step(steps.at(-1).gamma)));
}

const mean = () => steps[at].gamma.map((g) => g / sum(steps[at].gamma));
const sd = () => mean().map((m) => Math.sqrt((m * (1 - m)) / (sum(steps[at].gamma) + 1)));

// A grid of words with a number in each cell.
function grid(name, values, most, digits) {
  const svg = part(name);
  svg.replaceChildren();
  set(svg, { viewBox: `0 0 ${columns * CELL} ${rows * CELL}` });
  values.forEach((value, v) => {
    const [left, top] = [(v % columns) * CELL, Math.floor(v / columns) * CELL], text = number(value, digits);
    const box = { x: left + 1, y: top + 1, width: CELL - 2, height: CELL - 2 };
    const cell = shape("rect", { ...box, class: name === "dealt" ? "count k1" : "count k0" }, svg);
    cell.style.fillOpacity = 0.6 * Math.min(value / most, 1);
    if (Number(text)) shape("text", { x: left + CELL / 2, y: top + CELL / 2 + 5, "text-anchor": "middle" }, svg, text);
  });
}

const picture = () => Math.min(0.8 * shares.slot, 50); // the width of a topic below its bar
const shares = chart(part("shares"), 340, () => {
  const top = 1.12 * Math.max(0.3, ...mean().map((m, k) => m + sd()[k]));
  shares.slot = (Math.max(part("shares").clientWidth, 220) - 70) / K;
  const below = (picture() * rows) / columns + 14, low = (-top * below) / (288 - below);
  const yticks = ticks([0, top], 5), xticks = every.map((k) => [k + 1, String(k + 1)]);
  const labels = { xlabel: "topic k", ylabel: "share θₖ, given the document" };
  return { x: [0.5, K + 0.5], y: [low, top], xticks, yticks, ...labels };
}, ({ X, Y, field, curve }) => {
  const [m, s, side] = [mean(), sd(), picture() / columns];
  for (const k of every) {
    const on = k === chosen.selectedIndex, slot = X(2) - X(1), middle = X(k + 1);
    const left = middle - (side * columns) / 2, top = Y(0) + 8;
    const bar = { x: middle - 0.33 * slot, width: 0.66 * slot, y: Y(m[k]), height: Y(0) - Y(m[k]) };
    shape("rect", { ...bar, class: `bar ${on ? "k1" : "k0"}` }, field);
    shape("path", { d: `M${middle} ${Y(Math.max(m[k] - s[k], 0))}V${Y(m[k] + s[k])}`, class: "chain" }, field);
    kinds.forEach((v) => {
      const place = { x: left + (v % columns) * side, y: top + Math.floor(v / columns) * side };
      const ink = shape("rect", { ...place, width: side, height: side, class: "ink" }, field);
      ink.style.fillOpacity = beta[k * V + v] / largest;
    });
    const frame = { x: left - 1, y: top - 1, width: side * columns + 2, height: side * rows + 2 };
    shape("rect", { ...frame, class: on ? "tile k1 chosen" : "tile" }, field);
    const reach = shape("rect", { x: middle - slot / 2, width: slot, y: 0, height: 340, class: "reach" }, field);
    reach.addEventListener("click", () => { chosen.selectedIndex = k; show(); });
  }
  curve([0.5, K + 0.5], [0, 0], "axis");
  curve([0.5, K + 0.5], [1 / K, 1 / K], "prior");
});
const ascent = chart(part("ascent"), 300, () => {
  const values = steps.map((it) => it.value), [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = Math.max(0.08 * (high - low), 0.05), last = data.steps;
  const xticks = ticks([0, last], 6).filter(([v]) => Number.isInteger(v));
  return { x: [-0.04 * last, 1.04 * last], y: [low - pad, high + pad], xticks, xlabel: "step of coordinate ascent",
    ylabel: "bound on log p(x), nats" };
}, (it) => {
  it.curve(steps.map((_, t) => t), steps.map(({ value }) => value), "curve guide");
  steps.forEach(({ value }, t) => {
    shape("circle", { cx: it.X(t), cy: it.Y(value), r: 3, class: "mean guide" }, it.field);
  });
});
handle(ascent, {
  label: "Step of coordinate ascent",
  kind: "guide",
  get: () => [at, steps[at].value],
  move: ([t]) => { at = clamp(Math.round(t), 0, data.steps); show(); },
  say: () => `step ${at}, bound ${number(steps[at].value, 2)} nats`,
  step: [1, 0],
});

function show() {
  alpha = data.alpha * 2 ** Number(slide.value);
  solve();
  const k = chosen.selectedIndex, n = sum(x), { gamma, value, kl } = steps[at], share = mean();
  const weight = gamma.map((g) => Math.exp(digamma(g))), all = mixed(weight, weights);
  const dealt = kinds.map((v) => x[v] && (x[v] * weight[k] * weights[k * V + v]) / all[v]);
  const expected = mixed(share, beta).map((p) => n * p), most = Math.max(...x, ...expected, 1);
  const place = `row ${Math.floor(pen / columns) + 1}, column ${(pen % columns) + 1}`;
  const [left, top] = [(pen % columns) * CELL, Math.floor(pen / columns) * CELL];
  grid("document", x, most, 0);
  shape("rect", { x: left + 2, y: top + 2, width: CELL - 4, height: CELL - 4, class: "pen" }, sheet);
  const keys = "Arrow keys move, space adds a word, backspace removes one.";
  set(sheet, { "aria-label": `A document of ${n} words on a grid; ${place}: ${x[pen]}. ${keys}` });
  grid("expected", expected, most, 1);
  grid("dealt", dealt, most, 1);
  const listed = (values) => values.map((v) => number(v, 1)).join(", ");
  set(part("expected"), { "aria-label": `Expected counts: ${listed(expected)}` });
  set(part("dealt"), { "aria-label": `Words dealt to topic ${k + 1}: ${listed(dealt)}` });
  read("words", n, 0);
  read("bound", value, 3);
  read("kl", kl, 3);
  read("perplexity", n ? Math.exp(-value / n) : NaN, 2);
  read("share", share[k], 3);
  read("sd", sd()[k], 3);
  read("dealt", gamma[k] - alpha, 1);
  shares.redraw();
  ascent.redraw();
  const best = share.indexOf(Math.max(...share)), rest = steps.at(-1).value - value;
  const prior = `α = ${Number(alpha.toPrecision(3))}`;
  const more = `The steps that follow raise the bound by ${number(rest, 3)} nats.`;
  const text = n ? `Step ${at}, ${prior}: ${n} words. Topic ${best + 1} has the largest share, ${number(share[best], 2)} ± `
    + `${number(sd()[best], 2)}.${rest < 5e-4 ? "" : ` ${more}`}` : `No words: the posterior is the prior, with ${prior}.`;
  set(slide, { "aria-valuetext": prior });
  set(part("shares"), { "aria-label": `The shares of ${K} topics. ${text}` });
  set(part("ascent"), { "aria-label": `The bound after each step of coordinate ascent. ${text}` });
  part("of").textContent = `dealt to topic ${k + 1}`;
  part("add").textContent = `Ten words of topic ${k + 1}`;
  part("status").textContent = text;
  root.dataset.shown = JSON.stringify({ x, alpha, at, gamma, expected, dealt });
}

function change(v, by) {
  pen = v;
  x[v] = clamp(x[v] + by, 0, 999);
  show();
}
let last = -1; // the cell that the pointer is in
function touch(event) {
  const box = sheet.getBoundingClientRect();
  const j = Math.floor(((event.clientX - box.left) / box.width) * columns);
  const i = Math.floor(((event.clientY - box.top) / box.height) * rows);
  if (i < 0 || j < 0 || i >= rows || j >= columns || last === i * columns + j) return;
  last = i * columns + j;
  change(last, event.shiftKey || remove.ariaPressed === "true" ? -1 : 1);
}
sheet.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  sheet.setPointerCapture(event.pointerId);
  last = -1;
  touch(event);
});
sheet.addEventListener("pointermove", (event) => sheet.hasPointerCapture(event.pointerId) && touch(event));
sheet.addEventListener("keydown", (event) => {
  const by = { " ": 1, Enter: 1, "+": 1, Backspace: -1, Delete: -1, "-": -1 }[event.key];
  const to = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!by && !to) return;
  event.preventDefault();
  if (by) return change(pen, by);
  const [i, j] = [Math.floor(pen / columns) + to[0], (pen % columns) + to[1]];
  pen = clamp(i, 0, rows - 1) * columns + clamp(j, 0, columns - 1);
  show();
});
set(remove, { "aria-pressed": false });
press("remove", () => {
  set(remove, { "aria-pressed": remove.ariaPressed !== "true" });
  part("does").textContent = remove.ariaPressed === "true" ? "removes" : "adds";
});
press("clear", () => { x.fill(0); show(); });
press("example", () => {
  example = (example + 1) % data.x.length;
  x = data.x[example].slice();
  show();
});
press("add", () => { // expected counts, rounded so that there are ten
  const share = kinds.map((v) => 10 * beta[chosen.selectedIndex * V + v]), add = share.map(Math.floor);
  const order = kinds.slice().sort((a, b) => share[b] - add[b] - (share[a] - add[a]));
  order.slice(0, 10 - sum(add)).forEach((v) => { add[v] += 1; });
  x = x.map((count, v) => count + add[v]);
  show();
});
chosen.addEventListener("change", show);
slide.addEventListener("input", show);
show();
chosen.selectedIndex = mean().indexOf(Math.max(...mean()));
show();
