// Small charts: axes with numbers, a histogram with a marker, a code as bars.
function ticks([low, high], n) { // about n round numbers
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

const decimals = (values) => { // that round numbers have
  const after = (v) => (`${Number(v.toPrecision(6))}`.split(".")[1] ?? "").length;
  return Math.max(0, ...values.map(after));
};

// Axes around a box of a picture; `field` clips what is drawn into it, in the coordinates of the picture.
function axes(svg, { x, y, box: [left, top, width, height], xlabel = "", ylabel = "", nx = 5, ny = 3, grid = false }) {
  const X = line(x, [left, left + width]), Y = line(y, [top + height, top]);
  const xs = nx ? ticks(x, nx) : [], ys = ny ? ticks(y, ny) : [], [dx, dy] = [decimals(xs), decimals(ys)];
  for (const v of xs) {
    const d = grid ? `M${X(v)} ${top}V${top + height + 3}` : `M${X(v)} ${top + height}v3`;
    shape("path", { d, class: "faint" }, svg);
    shape("text", { x: X(v), y: top + height + 13, "text-anchor": "middle" }, svg, number(v, dx));
  }
  for (const v of ys) {
    const d = grid ? `M${left - 3} ${Y(v)}H${left + width}` : `M${left - 3} ${Y(v)}H${left}`;
    shape("path", { d, class: "faint" }, svg);
    shape("text", { x: left - 5, y: Y(v) + 4, "text-anchor": "end" }, svg, number(v, dy));
  }
  shape("path", { d: `M${left} ${top}V${top + height}H${left + width}`, class: "axis" }, svg);
  if (xlabel) shape("text", { x: left + width / 2, y: top + height + 26, "text-anchor": "middle" }, svg, xlabel);
  if (ylabel) {
    const longest = Math.max(0, ...ys.map((v) => number(v, dy).length));
    const [at, up] = [left - 12 - 6 * longest, top + height / 2];
    shape("text", { transform: `translate(${at} ${up}) rotate(-90)`, "text-anchor": "middle" }, svg, ylabel);
  }
  const view = { x: left, y: top, width, height, viewBox: `${left} ${top} ${width} ${height}` };
  return { X, Y, field: shape("svg", { ...view, "aria-hidden": true }, svg) };
}

// A histogram of sorted values, and a function that marks one more value; what lies far outside is at the edge.
function histogram(svg, sorted, xlabel, label, box = [8, 8, 224, 40]) {
  const [low, high] = [sorted[0], sorted[sorted.length - 1]];
  const x = [low - 0.1 * (high - low), high + 0.1 * (high - low)], bottom = box[1] + box[3];
  const bins = 40, counts = new Array(bins).fill(0);
  for (const v of sorted) counts[clamp(Math.floor(line(x, [0, bins])(v)), 0, bins - 1)] += 1;
  const most = Math.max(...counts);
  const { X, Y, field } = axes(svg, { x, y: [0, most], box, xlabel, ny: 0 });
  counts.forEach((count, i) => {
    const [from, to] = [i, i + 1].map(line([0, bins], x)).map(X);
    const box = { x: from, y: Y(count), width: to - from - 0.6, height: Y(0) - Y(count) };
    if (count) shape("rect", { ...box, class: "bar" }, field);
  });
  const marker = shape("path", { class: "now" }, svg);
  return (value) => {
    const at = X(clamp(value, ...x)), below = sorted.filter((v) => v < value).length / sorted.length;
    const aside = value < x[0] ? 1 : value > x[1] ? -1 : 0; // an arrow at the edge
    const arrow = `M${at + 7 * aside} 20l${-7 * aside} 6l${7 * aside} 6M${at} 26h${18 * aside}`;
    set(marker, { d: aside ? arrow : `M${at} 4V${bottom}` });
    set(svg, { "aria-label": `${label}: ${number(value, 2)}, above ${Math.round(100 * below)} % of the test images` });
    return below;
  };
}

// The units of a code as bars from 0, and a function that sets them.
function codeBars(svg, units, range, xlabel = "unit of the code z", ylabel = "") {
  const y = [Math.min(0, range[0]), Math.max(0, range[1])], x = [0.5, units + 0.5];
  const { Y, field } = axes(svg, { x, y, box: [34, 8, 198, 84], xlabel, ylabel, nx: Math.min(6, units) });
  const X = line(x, [34, 232]), wide = 0.7 * (X(2) - X(1));
  const bars = Array.from({ length: units }, (_, i) => shape("rect", { x: X(i + 1) - wide / 2, width: wide }, field));
  return (code) => {
    const on = code.filter((v) => v !== 0).length;
    code.forEach((v, i) => {
      const top = Y(clamp(Math.max(v, 0), ...y)), end = Y(clamp(Math.min(v, 0), ...y));
      set(bars[i], { y: top, height: Math.max(end - top, 0), class: "on" });
    });
    set(svg, { "aria-label": `The code: ${on} of ${units} units are not zero` });
    return on;
  };
}

function row(body, name, value) {
  const line = body.insertRow(), head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  line.append(head);
  line.insertCell().textContent = value;
}
