// Charts in CSS pixels, drawn anew at their width, and handles that the pointer drags and the arrow keys move.
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const format = (value, digits) => (Number.isFinite(value) ? number(value, digits) : value > 0 ? "∞" : "−∞");
const from = (n, f) => Array.from({ length: n }, (_, i) => f(i));
const sum = (values) => values.reduce((total, value) => total + value, 0);
const logsumexp = (values) => {
  const top = Math.max(...values);
  return top === -Infinity ? top : top + Math.log(sum(values.map((value) => Math.exp(value - top))));
};
const log_normal = (x, mean, sd) => -0.5 * ((x - mean) / sd) ** 2 - Math.log(sd) - 0.5 * Math.log(2 * Math.PI);

// Writes a number where the page shows it, and in full in its attribute data-value.
function read(name, value, digits = 4) {
  const element = root.querySelector(`[data-number="${name}"]`);
  element.dataset.value = value;
  element.textContent = format(value, digits);
}

// Ticks at 1, 2 or 5 times a power of ten, about `count` of them.
function ticks([low, high], count) {
  const rough = (high - low) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return from(last - first + 1, (i) => [(first + i) * step, number((first + i) * step, digits)]);
}

// A chart: frame() gives {x, y: ranges, xlabel, ylabel, xticks?, yticks?, heading?}; draw(chart) fills chart.field, which
// clips.
function chart(svg, height, frame, draw) {
  const hidden = { "aria-hidden": true };
  const it = { svg, back: shape("g", hidden, svg), field: shape("svg", hidden, svg), front: shape("g", {}, svg) };
  const [right, bottom] = [18, 42];
  it.handles = [];
  it.redraw = () => {
    const width = Math.max(Math.round(svg.clientWidth), 220), view = frame(), top = view.heading ? 26 : 10;
    const yticks = view.yticks ?? ticks(view.y, (height - top - bottom) / 45);
    const left = 28 + 8 * Math.max(3, ...yticks.map(([, text]) => text.length)); // room for the numbers
    const inside = { x: left, y: top, width: width - left - right, height: height - top - bottom };
    set(svg, { viewBox: `0 0 ${width} ${height}`, height });
    set(it.field, { ...inside, viewBox: Object.values(inside).join(" ") });
    it.back.replaceChildren();
    it.field.replaceChildren();
    Object.assign(it, { view, width, X: line(view.x, [left, width - right]), Y: line(view.y, [height - bottom, top]) });
    const { X, Y, back } = it;
    for (const [value, text] of yticks) {
      shape("path", { d: `M${left} ${Y(value)}H${width - right}`, class: "grid" }, back);
      shape("text", { x: left - 6, y: Y(value) + 4, "text-anchor": "end" }, back, text);
    }
    for (const [value, text] of view.xticks ?? ticks(view.x, inside.width / 65)) {
      shape("path", { d: `M${X(value)} ${height - bottom}v5`, class: "axis" }, back);
      shape("text", { x: X(value), y: height - bottom + 18, "text-anchor": "middle" }, back, text);
    }
    shape("path", { d: `M${left} ${top}V${height - bottom}H${width - right}`, class: "axis" }, back);
    const middle = { x: left + inside.width / 2, y: height - 5, "text-anchor": "middle", class: "title" };
    shape("text", middle, back, view.xlabel);
    const turned = `translate(13 ${top + inside.height / 2}) rotate(-90)`;
    shape("text", { transform: turned, "text-anchor": "middle", class: "title" }, back, view.ylabel);
    if (view.heading) shape("text", { x: left, y: 15 }, back, view.heading);
    draw(it);
    for (const handle of it.handles) handle.place();
  };
  it.curve = (xs, ys, kind) => shape("polyline", { points: points(xs.map(it.X), ys.map(it.Y)), class: kind }, it.field);
  it.band = (xs, low, high, kind) => {
    const up = points(xs.map(it.X), high.map(it.Y)), down = points(xs.map(it.X).reverse(), low.map(it.Y).reverse());
    return shape("polygon", { points: `${up} ${down}`, class: kind }, it.field);
  };
  it.ellipse = ([a, b], [[p, q], [, r]], sds, kind) => { // of a covariance matrix
    const c = Math.sqrt(p), d = q / c, e = Math.sqrt(Math.max(r - d * d, 0)), angles = from(73, (i) => (i * Math.PI) / 36);
    const xs = angles.map((t) => a + sds * c * Math.cos(t));
    return it.curve(xs, angles.map((t) => b + sds * (d * Math.cos(t) + e * Math.sin(t))), kind);
  };
  it.nearest = ({ clientX, clientY }) => {
    const away = it.handles.map(({ element }) => {
      const { left, top, width, height } = element.lastChild.getBoundingClientRect();
      return Math.hypot(left + width / 2 - clientX, top + height / 2 - clientY);
    });
    return it.handles[away.indexOf(Math.min(...away))];
  };
  it.at = (event) => { // the place of the pointer in the units of the axes
    const box = svg.getBoundingClientRect(), scale = box.width / it.width, { x, y } = it.view;
    const X = line([it.X(x[0]), it.X(x[1])], x), Y = line([it.Y(y[0]), it.Y(y[1])], y);
    return [X((event.clientX - box.left) / scale), Y((event.clientY - box.top) / scale)];
  };
  new ResizeObserver(() => svg.clientWidth && Math.round(svg.clientWidth) !== it.width && it.redraw()).observe(svg);
  dark.addEventListener("change", () => it.redraw());
  return it;
}

// A handle on a chart. get() is its place, move([x, y]) sets it, say() says it; step: of the arrow keys, by axis.
function handle(chart, { label, kind = "", get, move, say, step, done = () => {}, remove }) {
  const element = shape("g", { class: `handle ${kind}`, tabindex: 0, role: "slider", "aria-label": label }, chart.front);
  shape("circle", { r: 17, class: "reach" }, element);
  shape("circle", { r: 7.5, class: "knob" }, element);
  const it = { element };
  it.place = () => {
    const [x, y] = get();
    set(element, { transform: `translate(${chart.X(x).toFixed(2)} ${chart.Y(y).toFixed(2)})` });
    set(element, { "aria-valuenow": y.toFixed(3), "aria-valuetext": say(), "data-place": [x, y].join() });
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault(); // no selection of text
    const chosen = chart.nearest(event).element; // the areas of neighbours overlap
    chosen.focus();
    chosen.setPointerCapture(event.pointerId);
  });
  element.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false }); // the page stays
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) move(chart.at(event));
  });
  element.addEventListener("lostpointercapture", () => done());
  element.addEventListener("keydown", (event) => {
    if (remove && ["Delete", "Backspace"].includes(event.key)) {
      event.preventDefault();
      return remove();
    }
    const by = event.shiftKey ? 5 : 1, [x, y] = get(), [dx, dy] = [step[0] * by, step[1] * by];
    const to = {
      ArrowLeft: dx ? [x - dx, y] : [x, y - dy],
      ArrowRight: dx ? [x + dx, y] : [x, y + dy],
      ArrowUp: [x, y + dy],
      ArrowDown: [x, y - dy],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    move(to);
    done();
  });
  chart.handles.push(it);
  return it;
}

function drop(chart, it) {
  chart.handles = chart.handles.filter((other) => other !== it);
  it.element.remove();
}

const press = (name, action) => part(name).addEventListener("click", action);
