import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LedgerFlag } from "../../../src/ledger/ledger.js";
import type { Usage } from "../../../src/protocol/usage.js";
import { checkedUsage, type UsageFlag } from "../../../src/tokens/usage-check.js";

const usage = (prompt: number, completion: number, more: Partial<Usage> = {}): Usage => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
  ...more,
});
const ours = usage(100, 50);

describe("checkedUsage", () => {
  it("passes on a report that is right as it is", () => {
    const reported = usage(120, 40, { prompt_tokens_details: { cached_tokens: 64 } });
    const checked = checkedUsage(reported, ours);
    expect(checked).toEqual({ usage: reported, flags: [], isEstimated: false });
    expect(checked.usage).toBe(reported);
  });

  it("takes our count where nothing was reported", () => {
    expect(checkedUsage(undefined, ours)).toEqual({ usage: ours, flags: [], isEstimated: true });
    expect(checkedUsage(undefined, ours, usage(90, 10))).toEqual({
      usage: usage(90, 10),
      flags: [],
      isEstimated: false,
    });
  });

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, 1.5, 1_000_000_001, "12" as unknown as number])(
    "R18: ignores a count of %s, and flags it",
    (count) => {
      expect(checkedUsage(usage(count, 40), ours)).toEqual({
        usage: usage(100, 40),
        flags: ["usage-malformed"],
        isEstimated: true,
      });
      expect(checkedUsage(usage(120, count), ours)).toMatchObject({
        usage: { prompt_tokens: 120, completion_tokens: 50, total_tokens: 170 },
        flags: ["usage-malformed"],
      });
    },
  );

  it("R18: ignores a count that shrinks, and flags it", () => {
    expect(checkedUsage(usage(120, 30), ours, usage(120, 40))).toEqual({
      usage: usage(120, 40),
      flags: ["usage-malformed"],
      isEstimated: false,
    });
  });

  it("R18: leaves out details that are more than their whole, or none", () => {
    const reported = usage(100, 50, {
      prompt_tokens_details: { cached_tokens: 101, audio_tokens: 3 },
      completion_tokens_details: { reasoning_tokens: -1 },
    });
    expect(checkedUsage(reported, ours)).toEqual({
      usage: usage(100, 50, { prompt_tokens_details: { audio_tokens: 3 } }),
      flags: ["usage-malformed"],
      isEstimated: false,
    });
  });

  it("R18: reads and writes of the cache are not more than the prompt", () => {
    const reported = usage(100, 50, { prompt_tokens_details: { cached_tokens: 80, cache_write_tokens: 30 } });
    expect(checkedUsage(reported, ours)).toMatchObject({
      usage: { prompt_tokens_details: { cache_write_tokens: 30 } },
      flags: ["usage-malformed"],
    });
  });

  it.each([
    [400, 200, []],
    [401, 200, ["usage-implausible"]],
    [400, 201, ["usage-implausible"]],
  ])(
    "R18: flags %i prompt and %i answer tokens, if they are over four times our count",
    (prompt, completion, flags) => {
      const reported = usage(prompt, completion);
      expect(checkedUsage(reported, ours)).toEqual({ usage: reported, flags, isEstimated: false });
    },
  );

  it("does not count reasoning, which nobody here has seen, as implausible", () => {
    const reported = usage(100, 5_000, { completion_tokens_details: { reasoning_tokens: 4_950 } });
    expect(checkedUsage(reported, ours).flags).toEqual([]);
  });

  it("R18: whatever is reported, the result is counts, and details within them", () => {
    const anything = fc.oneof(fc.double(), fc.integer(), fc.maxSafeNat(), fc.constant(undefined), fc.string());
    const details = fc.option(
      fc.dictionary(fc.constantFrom("cached_tokens", "cache_write_tokens", "reasoning_tokens", "x"), anything),
      { nil: undefined },
    );
    const reports = fc.record({
      prompt_tokens: anything,
      completion_tokens: anything,
      total_tokens: anything,
      prompt_tokens_details: details,
      completion_tokens_details: details,
    });
    fc.assert(
      fc.property(reports, (reported) => {
        const { usage: checked } = checkedUsage(reported as unknown as Usage, ours);
        expect(Number.isSafeInteger(checked.prompt_tokens) && checked.prompt_tokens >= 0).toBe(true);
        expect(Number.isSafeInteger(checked.completion_tokens) && checked.completion_tokens >= 0).toBe(true);
        const { cached_tokens: read = 0, cache_write_tokens: written = 0 } = checked.prompt_tokens_details ?? {};
        expect(read + written).toBeLessThanOrEqual(checked.prompt_tokens);
        const { reasoning_tokens: reasoned = 0 } = checked.completion_tokens_details ?? {};
        expect(reasoned).toBeLessThanOrEqual(checked.completion_tokens);
        // Once checked, there is nothing left to repair.
        expect(checkedUsage(checked, ours).usage).toBe(checked);
      }),
    );
  });

  it("flags what the ledger knows", () => {
    const flags: readonly LedgerFlag[] = ["usage-malformed", "usage-implausible"] satisfies UsageFlag[];
    expect(flags).toHaveLength(2);
  });

  it("R18: what our count leaves out is not implausible: media of a prompt, and output that is no text", () => {
    const reported = usage(1_000, 50);
    expect(checkedUsage(reported, ours).flags).toEqual(["usage-implausible"]);
    expect(checkedUsage(reported, ours, undefined, 600).flags).toEqual([]);
    expect(checkedUsage(reported, ours, undefined, 599).flags).toEqual(["usage-implausible"]);
    const details = { audio_tokens: 300, image_tokens: 300, rejected_prediction_tokens: 200, reasoning_tokens: 100 };
    expect(checkedUsage(usage(100, 1_100, { completion_tokens_details: details }), ours).flags).toEqual([]);
    expect(checkedUsage(usage(100, 1_101, { completion_tokens_details: details }), ours).flags).toEqual([
      "usage-implausible",
    ]);
  });
});
