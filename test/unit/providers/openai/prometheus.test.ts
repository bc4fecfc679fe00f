import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { samplesOf } from "../../../../src/providers/openai/prometheus.js";

const read = (text: string, ...names: string[]) =>
  samplesOf(text, new Set(names)).map(({ name, labels, value }) => [name, Object.fromEntries(labels), value]);

describe("samplesOf", () => {
  it("reads the metrics that are asked for, with their labels", () => {
    const text = [
      "# HELP vllm:num_requests_running Number of requests.",
      "# TYPE vllm:num_requests_running gauge",
      'vllm:num_requests_running{engine="0",model_name="m"} 3.0',
      'vllm:num_requests_running_total{engine="0"} 9',
      "llamacpp:requests_processing 2 1700000000000",
      "  indented 1",
      "tgi_queue_size\t4e1\r",
      "# EOF",
    ].join("\n");
    expect(
      read(text, "vllm:num_requests_running", "llamacpp:requests_processing", "tgi_queue_size", "indented"),
    ).toEqual([
      ["vllm:num_requests_running", { engine: "0", model_name: "m" }, 3],
      ["llamacpp:requests_processing", {}, 2],
      ["tgi_queue_size", {}, 40],
    ]);
  });

  it("reads labels with blanks, escapes, braces and a trailing comma", () => {
    expect(read('a { x = "1" , y="q\\"\\\\\\n}, z=\\"" , } 5', "a")).toEqual([["a", { x: "1", y: 'q"\\\n}, z="' }, 5]]);
    expect(read('a{} 5\na{x=""}6', "a")).toEqual([
      ["a", {}, 5],
      ["a", { x: "" }, 6],
    ]);
  });

  it.each([
    "a NaN",
    "a +Inf",
    "a -Inf",
    "a",
    "a ",
    "a x",
    "a{ 1",
    'a{x="1} 1',
    "a{x=1} 1",
    'a{="1"} 1',
    'a{x"1"} 1',
    "a{}",
    "a5",
    '{"a"} 1',
    "=a 1",
  ])("passes over %j, and reads on", (line) => {
    expect(read(`${line}\na 7`, "a")).toEqual([["a", {}, 7]]);
  });

  it("never throws, and finds a line among any others", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: "grapheme" }).map((line) => line.replaceAll("\n", ""))),
        fc.nat(),
        (lines, at) => {
          const others = lines.filter((line) => !line.startsWith("wanted"));
          const text = others.toSpliced(at % (others.length + 1), 0, 'wanted{a="b"} 1.5').join("\n");
          expect(read(text, "wanted")).toEqual([["wanted", { a: "b" }, 1.5]]);
        },
      ),
    );
  });

  it("takes time in proportion to the text", { timeout: 30_000 }, () => {
    const hostile = [
      'a{x="'.repeat(400_000),
      `a{${'x="\\"",'.repeat(200_000)}`,
      `a{x="${"\\".repeat(2_000_000)}`,
      `a{x${" ".repeat(2_000_000)}`,
      "a".repeat(2_000_000),
      "a 1\n".repeat(300_000),
    ];
    const startedAt = performance.now();
    for (const text of hostile) samplesOf(text, new Set(["a"]));
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  });
});
