import { describe, expect, it } from "vitest";
import { chartsOf, htmlReport, textReport } from "../../../../src/testing/simulator/html-report.js";
import { summarise } from "../../../../src/testing/simulator/results.js";
import type { SimulationReport } from "../../../../src/testing/simulator/simulate.js";
import { lineChart } from "../../../../src/testing/simulator/svg-chart.js";

const results = Array.from({ length: 100 }, (_, index) => ({
  arrivedAt: 100 * index,
  isOk: index % 10 !== 0,
  code: index % 10 === 0 ? "upstream_error" : undefined,
  ttftMs: index % 10 === 0 ? undefined : 10 * (index + 1),
  durationMs: 2_000,
  promptTokens: 100,
  outputTokens: 11,
  tenant: undefined,
  deployment: "one",
}));
const report: SimulationReport = {
  seed: 1,
  hash: "0123456789abcdef",
  events: 4,
  measured: summarise(results, [], 10_000),
  results,
  calls: [],
  warmUpMs: 0,
  durationMs: 10_000,
  objective: {},
  between: () => summarise(results, [], 10_000),
};

describe("a summary", () => {
  it("counts as good what kept the objective, of all that was sent", () => {
    expect(report.measured).toMatchObject({
      requests: 100,
      requestsPerSecond: 10,
      errors: 0.1,
      errorCodes: { upstream_error: 10 },
      shares: { one: 1 },
    });
    // Within 2 s to the first token all succeeded ones are; (2000 - ttft) / 10 ms per token only the later ones.
    expect(report.measured.good).toBeLessThan(0.9);
    expect(summarise(results, [], 10_000, { msPerToken: 1_000 }).good).toBeCloseTo(0.9, 10);
    expect(summarise([], [], 0)).toMatchObject({ requests: 0, good: 0, errors: 0, callsPerRequest: 0 });
  });
});

describe("reports", () => {
  it("put simulations side by side, as text and as a page of its own", () => {
    const text = textReport({ today: report, "one more": report });
    expect(text.split("\n")[0]).toMatch(/requests +good +errors +TTFT p50/);
    expect(text).toMatch(/^one more +100 .* 10\.0 %/m);
    const html = htmlReport({ today: report }, "A <b>title</b>");
    expect(html).toContain("<h1>A &lt;b&gt;title&lt;/b&gt;</h1>");
    expect(html.match(/<svg /g)).toHaveLength(3);
    expect(html).not.toMatch(/https?:\/\/(?!www\.w3\.org)/);
  });

  it("draw a chart of anything, also of nothing", () => {
    const options = { title: "t & u", xLabel: "x", yLabel: "y" };
    for (const points of [
      [],
      [[0, 0]],
      [[1, Number.NaN]],
      [
        [0, 1],
        [1, 1],
      ],
    ] as [number, number][][]) {
      for (const isLogarithmic of [true, false]) {
        const svg = lineChart([{ name: "a<b", points }], { ...options, isLogarithmic });
        expect(svg).not.toMatch(/NaN|Infinity/);
        expect(svg).toContain("t &amp; u");
        expect(svg).toContain("a&lt;b");
      }
    }
    expect(Object.keys(chartsOf({ today: report }))).toHaveLength(3);
  });
});
