// q(y | x) of a drawing as bars over components; draws of the chosen one, made by the library.
const bars = part("bars"), canvas = part("picture"), control = part("choice"), legend = part("legend");
const classify = network(data.classifier), count = data.share.length, draws = bytes(data.draws);
const width = part("ink").width, height = part("ink").height, size = width * height;
const shownAtOnce = data.across * data.down, each = draws.length / size / count;
let from = 0, q = null;

const labels = { xlabel: data.name, ylabel: "probability, share", nx: 0, ny: 5, grid: true };
const { X, Y } = axes(bars, { x: [-0.5, count - 0.5], y: [0, 1], box: [44, 8, 290, 176], ...labels });
const wide = X(1) - X(0), columns = data.share.map((share, i) => {
  shape("text", { x: X(i), y: 198, "text-anchor": "middle" }, bars, i);
  shape("rect", { x: X(i) - 0.4 * wide, y: Y(share), width: 0.8 * wide, height: Y(0) - Y(share), class: "bar" }, bars);
  const bar = shape("rect", { x: X(i) - 0.22 * wide, width: 0.44 * wide, class: "on" }, bars);
  const frame = shape("rect", { x: X(i) - 0.47 * wide, y: 6, width: 0.94 * wide, height: 194, class: "frame" }, bars);
  frame.addEventListener("click", () => choose(i));
  return { bar, frame };
});
for (const [kind, text] of [["on", "q(y | x) of the drawing"], ["bar", `share of ${data.n} ${data.split} images`]]) {
  const item = document.createElement("li"), key = shape("svg", { viewBox: "0 0 30 16", "aria-hidden": true }, item);
  shape("rect", { x: 4, y: 2, width: 22, height: 12, class: kind }, key);
  item.append(text);
  legend.append(item);
}

function show() {
  const y = control.selectedIndex, percent = (v) => `${number(100 * v, 1)} %`;
  for (let i = 0; i < shownAtOnce; i++) {
    const at = (y * each + from + i) * size, left = (i % data.across) * (width + 2);
    const top = Math.floor(i / data.across) * (height + 2);
    paint(canvas, (p) => draws[at + p] / 255, 1, left, top, width, height);
  }
  columns.forEach(({ bar, frame }, i) => {
    set(bar, { y: Y(q[i]), height: Y(0) - Y(q[i]) });
    set(frame, { class: i === y ? "frame chosen" : "frame" });
  });
  const of = data.classes?.[y], holds = of ? `, ${percent(of[1])} of them of class ${of[0]}` : "";
  set(canvas, { "aria-label": `${shownAtOnce} draws of ${data.name} ${y}` });
  const words = Array.from(q, (v, i) => `${data.name} ${i} ${percent(v)}`).join(", ");
  set(bars, { "aria-label": `q(y | x): ${words}` });
  const name = data.name[0].toUpperCase() + data.name.slice(1);
  part("status").textContent = `${name} ${y}: ${percent(data.share[y])} of the ${data.split} images${holds}. `
    + `Of the drawing: q(y = ${y} | x) = ${number(q[y], 4)}.`;
  root.dataset.shown = JSON.stringify({ x: [...drawn], q: [...q], choice: y });
}

function choose(y) {
  control.selectedIndex = y;
  show();
}

let drawn = null;
drawingSheet(data, (x) => {
  drawn = x;
  const out = classify(x), most = Math.max(...out), weights = out.map((v) => Math.exp(v - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  q = weights.map((v) => v / sum);
  choose(q.indexOf(Math.max(...q)));
});
control.addEventListener("change", show);
part("other").addEventListener("click", () => {
  from = (from + shownAtOnce) % each;
  show();
});
if (each === shownAtOnce) part("other").hidden = true;
