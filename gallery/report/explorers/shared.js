// Shared by all explorers: part of the same function as the explorer's script, so it sets no global variable.
const root = document.currentScript.closest("figure");
const part = (name) => root.querySelector(`[data-part="${name}"]`);
const data = JSON.parse(part("data").textContent);

const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const floats = (base64) => new Float32Array(bytes(base64).buffer); // little-endian, like all platforms with a browser
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const line = (from, to) => (v) => to[0] + ((v - from[0]) / (from[1] - from[0])) * (to[1] - to[0]); // an axis

// A number with a minus sign (U+2212), and none before zero.
function number(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) ? text.replace("-", "−") : text.replace("-", "");
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

// A new element of a picture, inside another.
function shape(tag, attributes, inside, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(element, attributes);
  element.textContent = text;
  inside.append(element);
  return element;
}

const points = (xs, ys) => Array.from(xs, (x, i) => `${x.toFixed(2)},${ys[i].toFixed(2)}`).join(" ");

// An image by channels, values from 0 to 1: one channel as ink on white, three as red, green and blue.
function paint(canvas, value, channels = 1, left = 0, top = 0, width = canvas.width, height = canvas.height) {
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), size = width * height;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) {
      const v = clamp(value(channels === 1 ? i : c * size + i), 0, 1);
      image.data[4 * i + c] = Math.round(255 * (channels === 1 ? 1 - v : v));
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, left, top);
}
