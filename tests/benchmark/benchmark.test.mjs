// @ts-check
//! The evaluation of benchmark figures: medians, comparisons, bars and the report. Measures nothing.
//! Run with: node --test "tests/benchmark/*.test.mjs"

import assert from "node:assert/strict";
import { test } from "node:test";
import { BARS, judge } from "../../benchmark/bars.mjs";
import { compare, median, medians, rotated, rounded } from "../../benchmark/figures.mjs";
import { lastLine, report } from "../../benchmark/report.mjs";
import { NAMES } from "../../benchmark/results.mjs";
import { number } from "../../site/scripts/numbers.mjs";

test("benchmark: the median is the middle value in any order", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([10, 1, 2, 3]), 2.5);
  assert.equal(median([7]), 7);
  assert.ok(Number.isNaN(median([])));
});

test("benchmark: comparisons are made within a round", () => {
  // The second round is ten times as slow for both, the third for one of them only.
  const samples = {
    whole: {
      ring: [{ cpu_us: 200 }, { cpu_us: 2_000 }, { cpu_us: 2_000 }],
      bare: [{ cpu_us: 100 }, { cpu_us: 1_000 }, { cpu_us: 100 }],
    },
  };
  const both = { load: "whole", figure: "cpu_us", of: "ring", to: "bare" };
  assert.equal(compare(samples, both), 2);
  assert.equal(compare(samples, { ...both, how: "difference" }), 1_000);
  assert.equal(compare(samples, { ...both, scale: 10 }), 20);
  assert.equal(compare(samples, { load: "whole", figure: "cpu_us", of: "bare" }), 100);
  assert.equal(compare(samples, { ...both, to: "nobody" }), undefined);
  assert.equal(compare(samples, { ...both, load: "nothing" }), undefined);
  assert.ok(Number.isNaN(compare(samples, { ...both, figure: "nothing" })));
});

test("benchmark: every figure has its median", () => {
  const samples = {
    whole: {
      bare: [
        { a: 1, b: 10.12345 },
        { a: 3, b: 10.12345 },
      ],
    },
  };
  assert.deepEqual(medians(samples), { whole: { bare: { a: 2, b: 10.12 } } });
  assert.equal(rounded(123_456.7), 123_457);
});

test("benchmark: each round begins with another candidate", () => {
  assert.deepEqual(rotated(["a", "b", "c"], 0), ["a", "b", "c"]);
  assert.deepEqual(rotated(["a", "b", "c"], 4), ["b", "c", "a"]);
  assert.deepEqual(rotated([], 3), []);
});

test("benchmark: a bar holds up to its limit and fails without a figure", () => {
  const of = (/** @type {number} */ cpu_us) => ({
    whole: { ring: [{ cpu_us, rps: 1 }], bare: [{ cpu_us: 100, rps: 1 }] },
  });
  const bars = BARS.filter((bar) => bar.name === "whole-ring");
  assert.equal(bars.length, 1);
  assert.deepEqual(
    judge(of(170), bars).map((bar) => bar.holds),
    [true],
  );
  assert.deepEqual(
    judge(of(171), bars).map((bar) => bar.holds),
    [false],
  );
  assert.deepEqual(
    judge(of(NaN), bars).map((bar) => bar.holds),
    [false],
  );
  assert.deepEqual(judge({}, bars), []);
  const original = judge(of(1)).find((bar) => bar.name === "original");
  assert.deepEqual([original?.side, original?.holds], ["at least", true]);
});

test("benchmark: bars have unique names and one limit each", () => {
  assert.equal(new Set(BARS.map((bar) => bar.name)).size, BARS.length);
  for (const bar of BARS) assert.ok((bar.atMost ?? bar.atLeast) > 0, bar.name);
});

test("benchmark: the last line names the failed bars", () => {
  const bar = {
    name: "a",
    about: "A",
    value: 1.234,
    unit: "×",
    side: "at most",
    limit: 2,
    others: {},
  };
  assert.equal(lastLine([{ ...bar, holds: true }]), "all bars hold | a 1.23×");
  assert.equal(
    lastLine([
      { ...bar, holds: true },
      { ...bar, name: "b", unit: "ms", limit: 1, holds: false },
    ]),
    "1 of 2 bars FAIL | a 1.23× | b 1.23 ms (FAILS: at most 1)",
  );
});

test("benchmark: tables are aligned", () => {
  const text = report({
    ...NAMES,
    date: "",
    machine: { processor: "P", cores: 2, memory_gb: 8 },
    versions: { workerd: "1", rustc: "2", node: "3" },
    rounds: {},
    figures: { whole: { bare: { rps: 1_234.5, cpu_us: 99.94 }, direct: { rps: 7 } } },
    bars: [],
  });
  assert.match(text, /^whole     rps  cpu_us\nbare    1,235    99\.9\ndirect      7       –$/m);
  assert.equal(number(undefined), "–");
  assert.equal(number(0.123), "0.12");
});
