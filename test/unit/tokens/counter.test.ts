import fc from "fast-check";
import { getEncoding } from "js-tiktoken";
import { beforeAll, describe, expect, it } from "vitest";
import { createCounterLoader, estimateCounter, type TokenCounter } from "../../../src/tokens/counter.js";
import { loadTiktokenCounter, MAX_COUNTED_CHARACTERS, type TiktokenEncoding } from "../../../src/tokens/tiktoken.js";

const samples = [
  "",
  "hello world",
  "The quick brown fox jumps over the lazy dog. It's 10:30, isn't it?",
  "function add(a: number, b: number): number {\n  return a + b; // sum\n}\n",
  "机器学习是人工智能的一个重要分支，它使用统计方法。",
  "Größenwahn, naïve façade — „Überraschung“ 🙂🙃👩‍👩‍👧",
  "   leading, trailing and   inner blanks \n\n\t\n  ",
  "aGVsbG8gd29ybGQsIHRoaXMgaXMgYmFzZTY0IHRleHQ=".repeat(4),
  "<|endoftext|> is text here",
  "\ud83d lone surrogate",
];

describe.each<TiktokenEncoding>(["o200k_base", "cl100k_base"])("tiktoken's %s", (encoding) => {
  const reference = getEncoding(encoding);
  let counter: TokenCounter;
  beforeAll(async () => {
    counter = await loadTiktokenCounter({ encoding });
  });
  const referenceCount = (text: string) => reference.encode(text, [], []).length;

  it.each(samples)("counts %j as js-tiktoken does", (text) => {
    expect(counter.count(text)).toBe(referenceCount(text));
  });

  it("counts any text as js-tiktoken does", () => {
    const unit = fc.constantFrom(
      " ",
      "\n",
      "a",
      "B",
      "ing",
      "the ",
      "1",
      "23",
      "!",
      "'s",
      "é",
      "中",
      "🙂",
      "\ud800",
      "/*",
    );
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 60 }), (text) => {
        expect(counter.count(text)).toBe(referenceCount(text));
      }),
    );
  });

  it("counts a long text exactly where words have blanks between them", () => {
    const text = samples.slice(1, 4).join(" ").repeat(750);
    expect(text.length).toBeGreaterThan(3 * 32_768);
    expect(counter.count(text)).toBe(referenceCount(text));
  });

  it("counts a run without a boundary within one token in a hundred, and never less", () => {
    const run = "abcdefghij".repeat(60);
    const exact = referenceCount(run);
    expect(counter.count(run)).toBeGreaterThanOrEqual(exact);
    expect(counter.count(run)).toBeLessThanOrEqual(exact * 1.01 + 3);
  });
});

describe("the counter by tiktoken", () => {
  it.each(["a", "龘靐齉", "🙂🙃", "QwErT", " ", "!?", "e\u0301\u0302"])(
    "takes linear time for a hostile run of %j",
    async (unit) => {
      const counter = await loadTiktokenCounter({ maxCachedCharacters: 0 });
      // js-tiktoken itself takes minutes for each of these.
      const text = unit.repeat(Math.floor(30_000 / unit.length));
      const tokens = counter.count(text);
      expect(tokens).toBeGreaterThan(0);
      expect(tokens).toBeLessThanOrEqual(Buffer.byteLength(text));
    },
  );

  it("estimates what is beyond the longest text that it reads", async () => {
    const counter = await loadTiktokenCounter();
    const [head, tail] = [
      "word ".repeat(MAX_COUNTED_CHARACTERS / 4).slice(0, MAX_COUNTED_CHARACTERS),
      "x".repeat(1_000_000),
    ];
    expect(counter.count(head + tail)).toBe(counter.count(head) + 250_000);
  });

  it("remembers no more than it may", async () => {
    const counter = await loadTiktokenCounter({ maxCachedCharacters: 1_000 });
    const long = "some words ".repeat(200);
    expect(counter.count(long)).toBe(counter.count(long));
    for (let i = 0; i < 100; i++) expect(counter.count(`${i} ${"text ".repeat(40)}`)).toBeGreaterThan(40);
  });
});

describe("estimateCounter", () => {
  it("takes four bytes for a token", () => {
    expect(["", "abcd", "abcde", "日本語"].map(estimateCounter.count)).toEqual([0, 1, 2, 3]);
  });
});

describe("createCounterLoader", () => {
  it("loads nothing for estimates", () => {
    const loader = createCounterLoader("estimate");
    expect(loader.load()).toBeUndefined();
    expect(loader.counter.kind).toBe("estimate");
  });

  it("estimates until the tokenizer is there, and loads it once", async () => {
    const loader = createCounterLoader("tiktoken");
    expect(loader.counter.kind).toBe("estimate");
    const loading = loader.load();
    expect(loader.load()).toBe(loading);
    await loading;
    expect(loader.counter.kind).toBe("tiktoken");
    expect(loader.load()).toBeUndefined();
  });
});
