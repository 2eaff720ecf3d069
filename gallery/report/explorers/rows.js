// The first rows of every image, and grey below them.
const canvas = part("picture"), slider = part("shown"), which = part("set"), play = part("play");
const width = Number(canvas.dataset.width), height = Number(canvas.dataset.height), size = width * height;
const sets = data.sets.map(({ first, pixels }) => ({ first, pixels: bytes(pixels) }));
const still = matchMedia("(prefers-reduced-motion: reduce)").matches, PAUSE = 150; // a row, in milliseconds
let timer = null;

function show() {
  const { first, pixels } = sets[which.selectedIndex], t = Number(slider.value), end = (size * t) / data.steps;
  for (let i = 0; i < pixels.length / size; i++) {
    const left = (i % data.columns) * (width + 2), top = Math.floor(i / data.columns) * (height + 2);
    const value = (p) => (p < end ? pixels[i * size + p] / 255 : data.hidden);
    paint(canvas, value, 1, left, top, width, height);
  }
  const text = `${t} of ${data.steps} rows`;
  set(slider, { "aria-valuetext": text });
  set(canvas, { "aria-label": `${pixels.length / size} images ${which.value}, ${text}` });
  const known = Math.min(t, first), drawn = t - known;
  const shown = known ? `${known} shown to the model, ` : "";
  if (!timer) part("status").textContent = `${text}: ${shown}${drawn} drawn by it.`; // not while playing
}

function stop() {
  clearInterval(timer);
  timer = null;
  play.textContent = still ? "Next row" : "Play";
}

function next() {
  const t = Number(slider.value), first = sets[which.selectedIndex].first;
  if (t + 1 >= data.steps && timer) stop();
  slider.value = t < data.steps ? t + 1 : Math.max(first, 1); // not an empty picture
  show();
}

play.addEventListener("click", () => {
  if (still) return next(); // with reduced motion the button shows the next row
  if (timer) stop();
  else {
    timer = setInterval(next, PAUSE);
    play.textContent = "Pause";
  }
  show();
});
slider.addEventListener("input", () => {
  stop();
  show();
});
which.addEventListener("change", show);
stop();
show();
