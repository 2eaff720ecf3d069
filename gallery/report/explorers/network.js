// Networks of a page, in doubles: weights of few bits times the scale of their row, and what a model does with outputs.
const activations = {
  relu: (v) => Math.max(v, 0),
  leaky_relu: (v) => (v > 0 ? v : 0.01 * v),
  tanh: Math.tanh,
  sigmoid: (v) => 1 / (1 + Math.exp(-v)),
};
const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
const spreads = { softplus, exp: Math.exp }; // standard deviation from an output
const clampLogit = (eta) => clamp(eta, -data.bound, data.bound); // of a continuous Bernoulli
const means = { // E[x] from an output
  identity: (eta) => eta,
  sigmoid: activations.sigmoid,
  continuous_bernoulli: (eta) => { // a series where the two terms nearly cancel
    const l = clampLogit(eta);
    return Math.abs(l) < 0.1 ? 0.5 + l / 12 - l ** 3 / 720 : -1 / Math.expm1(-l) - 1 / l;
  },
};
const logProbs = { // log p(x) of a pixel, in nats, from x, the output, the mean and the standard deviation
  bernoulli: (x, eta) => x * eta - softplus(eta),
  continuous_bernoulli: (x, eta) => {
    const l = clampLogit(eta), size = Math.max(Math.abs(l), 1e-3);
    return l * x - (l + size) / 2 - Math.log(-Math.expm1(-size) / size);
  },
  normal: (x, eta, mean, sd) => -0.5 * ((x - mean) / sd) ** 2 - Math.log(sd) - 0.5 * Math.log(2 * Math.PI),
};

// The affine map of {packed, scale, bias, columns, bits}; `packed` is a stream of bits, from the lowest of each weight.
function affine({ packed, scale: scales, bias, columns, bits }) {
  const from = bytes(packed), scale = floats(scales), b = floats(bias), w = new Float64Array(scale.length * columns);
  let held = 0, count = 0, at = 0;
  for (let i = 0; i < w.length; i++) {
    for (; count < bits; count += 8) held |= from[at++] << count;
    w[i] = ((held & (2 ** bits - 1)) - 2 ** (bits - 1)) * scale[Math.floor(i / columns)];
    held >>>= bits;
    count -= bits;
  }
  return (input) => {
    const from = Float64Array.from(input), out = Float64Array.from(b); // of one type, so that the loop is fast
    for (let i = 0, k = 0; i < out.length; i++) {
      let sum = out[i];
      for (let j = 0; j < columns; j++, k++) sum += w[k] * from[j];
      out[i] = sum;
    }
    return out;
  };
}

function network(layers) {
  const steps = layers.map((layer) => [affine(layer), activations[layer.activation]]);
  return (input) => steps.reduce((h, [map, activate]) => {
    const out = map(h);
    return activate ? out.map(activate) : out;
  }, input);
}

const normals = (base64) => { // rows of noise, (draws, length)
  const values = floats(base64);
  const row = (length) => (_, i) => values.subarray(i * length, (i + 1) * length);
  return (length) => Array.from({ length: values.length / length }, row(length));
};
