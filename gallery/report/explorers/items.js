// Item response: curves of items that are dragged, and the posterior of an ability by sums over a grid.
const K = data.b.length, chosen = part("item"), slide = part("slope"), EDGE = 4.5, COLOURS = 5;
const STEP = 0.1, nodes = from(201, (i) => (i - 100) * STEP), grid = from(181, (i) => EDGE * (i / 90 - 1));
const log_sigmoid = (t) => Math.min(t, 0) - Math.log1p(Math.exp(-Math.abs(t)));
const words = { 1: "right", 0: "wrong", "-": "missing" }, next = { 1: "0", 0: "-", "-": "1" };
let [a, b] = [data.a.slice(), data.b.slice()], answers = Array(K).fill("1"), solved;

const log_joint = (z, x) => { // log p(x, z)
  let total = log_normal(z, 0, 1);
  for (let j = 0; j < K; j++) if (x[j] !== "-") total += log_sigmoid((x[j] === "1" ? 1 : -1) * a[j] * (z - b[j]));
  return total;
};
const evidence = (x) => logsumexp(nodes.map((z) => log_joint(z, x))) + Math.log(STEP);

function solve() {
  const log_x = evidence(answers), weights = nodes.map((z) => Math.exp(log_joint(z, answers) - log_x) * STEP);
  const mean = sum(weights.map((w, i) => w * nodes[i]));
  const sd = Math.sqrt(sum(weights.map((w, i) => w * (nodes[i] - mean) ** 2)));
  const persons = sum(data.patterns.map(([, n]) => n));
  const log_all = sum(data.patterns.map(([x, n]) => n * evidence(x))) / persons;
  const seen = ([x]) => answers.every((answer, j) => answer === "-" || x[j] !== "-"); // has answers to these items
  const fits = ([x]) => answers.every((answer, j) => answer === "-" || answer === x[j]);
  const answered = sum(data.patterns.filter(seen).map(([, n]) => n));
  const observed = sum(data.patterns.filter(fits).map(([, n]) => n));
  return { log_x, mean, sd, log_all, observed, expected: answered * Math.exp(log_x) };
}

const curves = chart(part("curves"), 320, () => (
  { x: [-EDGE, EDGE], y: [0, 1], xlabel: "ability z", ylabel: "probability of a right answer" }
), (it) => {
  for (let j = 0; j < K; j++) {
    const kind = `curve k${j % COLOURS}`, line = it.curve(grid, grid.map((z) => Math.exp(log_sigmoid(a[j] * (z - b[j])))), kind);
    line.style.stroke = "var(--mine)";
    line.style.strokeWidth = j === chosen.selectedIndex ? 3.5 : 1.8;
  }
});
const shown = chart(part("picture"), 320, () => (
  { x: [-EDGE, EDGE], y: [0, 1.12 * Math.max(0.45, 0.4 / solved.sd)], xlabel: "ability z", ylabel: "density" }
), (it) => {
  const density = grid.map((z) => Math.exp(log_joint(z, answers) - solved.log_x));
  it.band(grid, grid.map(() => 0), density, "area truth");
  it.curve(grid, grid.map((z) => Math.exp(log_normal(z, 0, 1))), "prior");
  it.curve(grid, density, "curve truth");
  const height = Math.exp(log_joint(solved.mean, answers) - solved.log_x);
  shape("circle", { cx: it.X(solved.mean), cy: it.Y(height), r: 5, class: "mean truth" }, it.field);
});
const dots = from(K, (j) => handle(curves, {
  label: `Difficulty of item ${j + 1}`,
  kind: `k${j % COLOURS}`,
  get: () => [b[j], 0.5],
  move: ([x]) => {
    b[j] = clamp(x, -4, 4);
    show();
  },
  say: () => `difficulty ${number(b[j], 2)}, slope ${number(a[j], 2)}`,
  step: [0.1, 0],
}));

function choose(j) {
  chosen.selectedIndex = j;
  slide.value = (100 * a[j]) / data.steepest;
}

function show() {
  solved = solve();
  read("mean", solved.mean, 3);
  read("sd", solved.sd, 3);
  read("log_x", solved.log_x);
  read("expected", solved.expected, 1);
  read("observed", solved.observed, 0);
  read("log_all", solved.log_all);
  answers.forEach((answer, j) => { part(`answer-${j}`).textContent = `${j + 1}: ${words[answer]}`; });
  set(slide, { "aria-valuetext": `slope ${number(a[chosen.selectedIndex], 2)}` });
  curves.redraw();
  shown.redraw();
  const given = answers.filter((answer) => answer !== "-"), right = given.filter((answer) => answer === "1").length;
  const j = chosen.selectedIndex;
  const text = `${right} of ${given.length} answers right: ability ${number(solved.mean, 2)} ± ${number(solved.sd, 2)}. `
    + `Item ${j + 1} has the difficulty ${number(b[j], 2)} and the slope ${number(a[j], 2)}.`;
  set(part("picture"), { "aria-label": `Prior and posterior of the ability. ${text}` });
  set(part("curves"), { "aria-label": `The probability of a right answer to each item. ${text}` });
  part("status").textContent = text;
}

dots.forEach(({ element }, j) => element.addEventListener("focus", () => { choose(j); show(); }));
chosen.addEventListener("change", () => { choose(chosen.selectedIndex); show(); });
slide.addEventListener("input", () => {
  const slope = (data.steepest * Number(slide.value)) / 100;
  a = a.map((v, j) => (data.shared || j === chosen.selectedIndex ? slope : v));
  show();
});
answers.forEach((_, j) => press(`answer-${j}`, () => { answers[j] = next[answers[j]]; show(); }));
for (const [name, answer] of [["right", "1"], ["wrong", "0"], ["missing", "-"]])
  press(name, () => { answers.fill(answer); show(); });
press("again", () => {
  [a, b] = [data.a.slice(), data.b.slice()];
  choose(chosen.selectedIndex);
  show();
});
choose(0);
show();
