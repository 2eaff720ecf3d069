// Special functions in doubles, to about 1e-12.
const LANCZOS = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];

function lgamma(x) {
  if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - lgamma(1 - x);
  const t = x + 6.5;
  const series = LANCZOS.reduce((total, c, i) => total + (i ? c / (x - 1 + i) : c), 0);
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(series);
}

// The derivative of lgamma, for x above 0: its recurrence, then the asymptotic series.
function digamma(x) {
  let total = 0;
  for (; x < 10; x++) total -= 1 / x;
  const y = 1 / (x * x);
  return total + Math.log(x) - 0.5 / x - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132)))));
}

// The distribution function of a beta distribution, by the continued fraction (Numerical Recipes, section 6.4).
function beta_cdf(a, b, x) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - beta_cdf(b, a, 1 - x);
  const front = Math.exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  const off = (v) => (Math.abs(v) < 1e-300 ? 1e-300 : v);
  let c = 1, d = 1 / off(1 - ((a + b) * x) / (a + 1)), f = d;
  for (let m = 1; m < 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / off(1 + even * d);
    c = off(1 + even / c);
    f *= c * d;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / off(1 + odd * d);
    c = off(1 + odd / c);
    f *= c * d;
    if (Math.abs(c * d - 1) < 1e-14) break;
  }
  return front * f;
}

// Its quantile, by bisection.
function beta_quantile(a, b, p) {
  let low = 0, high = 1;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (beta_cdf(a, b, middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

// log of the standard normal distribution function: its series around 0, its continued fraction in the tail.
function log_ndtr(x) {
  const density = -0.5 * x * x - 0.5 * Math.log(2 * Math.PI);
  if (x > 3) return Math.log1p(-Math.exp(log_ndtr(-x)));
  if (x > -3) {
    let term = x, total = x;
    for (let i = 3; Math.abs(term) > 1e-17 * Math.abs(total); i += 2) total += term *= (x * x) / i;
    return Math.log(0.5 + Math.exp(density) * total);
  }
  let fraction = -x;
  for (let i = 80; i > 0; i--) fraction = -x + i / fraction;
  return density - Math.log(fraction);
}
