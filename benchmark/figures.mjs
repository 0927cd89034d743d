// @ts-check
//! Statistics over rounds: medians, and comparisons of two targets. Each comparison is made within a round, so that
//! disturbances of the machine affect both sides. Pure: measures nothing and prints nothing.

/** @typedef {import("./loads.mjs").Sample} Sample */
/** @typedef {Record<string, Record<string, Sample[]>>} Samples of each load, of each target, one for each round */

/**
 * A comparison of two targets. `scale` is a factor of the result.
 *
 * @typedef {object} Comparison
 * @property {string} load
 * @property {string} figure
 * @property {string} of
 * @property {string} [to] absent: no comparison, but the figure itself
 * @property {"ratio" | "difference"} [how]
 * @property {number} [scale]
 */

/** @param {number[]} values */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return low === undefined || high === undefined ? NaN : (low + high) / 2;
}

/**
 * A figure of a target in each round.
 *
 * @param {Samples} samples
 * @param {string} load
 * @param {string} target
 * @param {string} figure
 */
function values(samples, load, target, figure) {
  return (samples[load]?.[target] ?? []).map((sample) => sample[figure] ?? NaN);
}

/**
 * @param {Samples} samples
 * @param {Comparison} comparison
 * @returns {number | undefined} undefined if one of the two was not measured
 */
export function compare(samples, { load, figure, of, to, how = "ratio", scale = 1 }) {
  const left = values(samples, load, of, figure);
  const right = to === undefined ? left.map(() => 1) : values(samples, load, to, figure);
  const rounds = Math.min(left.length, right.length);
  if (rounds === 0) return undefined;
  const each = Array.from({ length: rounds }, (_, round) => {
    const [a = NaN, b = NaN] = [left[round], right[round]];
    return (how === "ratio" ? a / b : a - b) * scale;
  });
  return median(each);
}

/**
 * The medians over rounds of every figure.
 *
 * @param {Samples} samples
 * @returns {Record<string, Record<string, Sample>>}
 */
export function medians(samples) {
  return mapValues(samples, (targets) =>
    mapValues(targets, (list) => {
      const figures = Object.keys(list[0] ?? {});
      return Object.fromEntries(
        figures.map((figure) => [
          figure,
          rounded(median(list.map((sample) => sample[figure] ?? NaN))),
        ]),
      );
    }),
  );
}

/**
 * Rounds to four significant digits.
 *
 * @param {number} value
 */
export function rounded(value) {
  return Math.abs(value) >= 1_000 ? Math.round(value) : Number(value.toPrecision(4));
}

/**
 * Rotates a list by one entry for each round, so that the order of its entries varies.
 *
 * @template T
 * @param {T[]} list
 * @param {number} round
 */
export function rotated(list, round) {
  const at = list.length === 0 ? 0 : round % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

/**
 * @template In, Out
 * @param {Record<string, In>} object
 * @param {(value: In) => Out} change
 * @returns {Record<string, Out>}
 */
export function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]));
}
