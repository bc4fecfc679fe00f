import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../../src/internal/random.js";
import { DeploymentLimits } from "../../../src/limits/deployment-limits.js";
import { ProviderLimits } from "../../../src/limits/provider-limits.js";
import type { RateLimitHeader } from "../../../src/providers/provider.js";
import {
  ANTHROPIC_LIMITS,
  EVEN_LIMITS,
  MISTRAL_LIMITS,
  OPENAI_NAMED_LIMITS,
  OPENROUTER_LIMITS,
  TOGETHER_LIMITS,
} from "../../../src/providers/shared/rate-limit-headers.js";

const WALL = Date.parse("2026-01-01T00:00:00Z");
const headersOf = (fields: Readonly<Record<string, string>>) => new Map(Object.entries(fields));

/** The limits after one answer at time 0, to a request that was sent then. */
function told(table: readonly RateLimitHeader[], fields: Readonly<Record<string, string>>, wallNow = WALL) {
  const limits = new ProviderLimits("account");
  const share = limits.take(10, 5, 0);
  limits.learn(table, headersOf(fields), share, 0, 0, wallNow);
  return limits;
}

const requests = (limit: string, remaining: string, reset?: string) => ({
  "x-ratelimit-limit-requests": limit,
  "x-ratelimit-remaining-requests": remaining,
  ...(reset !== undefined && { "x-ratelimit-reset-requests": reset }),
});

describe("headers of an upstream's own limits", () => {
  it.each([
    ["OpenAI and Groq", EVEN_LIMITS, requests("60", "30", "30s"), { counts: "requests", limit: 60, remaining: 30 }],
    ["unknown servers", OPENAI_NAMED_LIMITS, requests("60", "0", "7"), { remaining: 0, resetMs: 7_000 }],
    ["Azure, which tells no reset", OPENAI_NAMED_LIMITS, requests("60", "30"), { remaining: 30, resetMs: 30_000 }],
    [
      "Anthropic, with dates",
      ANTHROPIC_LIMITS,
      {
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-output-tokens-remaining": "4000",
        "anthropic-ratelimit-output-tokens-reset": "2026-01-01T00:00:30Z",
      },
      { counts: "output-tokens", limit: 8_000, remaining: 4_000, resetMs: expect.closeTo(30_000, -2) },
    ],
    [
      "Mistral",
      MISTRAL_LIMITS,
      { "x-ratelimit-limit-req-minute": "6", "x-ratelimit-remaining-req-minute": "5" },
      { counts: "requests", limit: 6, remaining: 5 },
    ],
    [
      "Mistral before",
      MISTRAL_LIMITS,
      { "ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "499000", "ratelimitbysize-reset": "12" },
      { counts: "tokens", limit: 500_000, remaining: 499_000, resetMs: 12_000 },
    ],
    [
      "Together",
      TOGETHER_LIMITS,
      { "x-tokenlimit-limit": "3000", "x-tokenlimit-remaining": "2000" },
      { counts: "tokens", limit: 3_000, remaining: 2_000 },
    ],
    [
      "OpenRouter, with a Unix time",
      OPENROUTER_LIMITS,
      { "x-ratelimit-limit": "20", "x-ratelimit-remaining": "3", "x-ratelimit-reset": String(WALL + 9_000) },
      { counts: "requests", limit: 20, remaining: 3, resetMs: 9_000 },
    ],
  ] as const)("are read as %s writes them", (_who, table, fields, expected) => {
    const limits = told(table, fields);
    expect(limits.view(0)).toMatchObject([expected]);
    expect(limits.unreadable).toBe(0);
  });

  it.each([
    ["a word", requests("60", "many", "1s"), 1],
    ["a negative number", requests("60", "-7", "1s"), 1],
    ["a fraction", requests("60", "1.5", "1s"), 1],
    ["two values", requests("60", "5, 6", "1s"), 1],
    ["infinitely many", requests("Infinity", "5", "1s"), 1],
    ["more digits than any limit has", requests("9".repeat(40), "5", "1s"), 1],
    ["both wrong", requests("x", "y", "1s"), 2],
    ["nothing of the limit itself", { "x-ratelimit-remaining-requests": "5" }, 0],
    ['Azure\'s -1, which is "unknown"', requests("-1", "-1", "0"), 0],
    ["a limit of 0", requests("0", "0", "0"), 0],
  ])("say nothing where they have %s, which is counted", (_what, fields, unreadable) => {
    const limits = told(EVEN_LIMITS, fields);
    expect(limits.isKnown).toBe(false);
    expect(limits.unreadable).toBe(unreadable);
    expect(limits.hasRoom(1, 1, 0)).toBe(true);
    expect(limits.headroom(0)).toBe(1);
  });

  it("count a reset that nobody can read, and go by a minute then", () => {
    const limits = told(EVEN_LIMITS, requests("60", "30", "soon"));
    expect(limits.unreadable).toBe(1);
    expect(limits.view(0)).toMatchObject([{ remaining: 30, resetMs: 30_000 }]);
  });

  it("never make a number that is none, or below 0, whatever they hold", () => {
    const junk = fc.oneof(
      fc.string(),
      fc.integer().map(String),
      fc.double().map(String),
      fc.constantFrom("-1", "1h", "٣"),
    );
    const table = [...EVEN_LIMITS, ...TOGETHER_LIMITS, ...ANTHROPIC_LIMITS];
    const names = table.flatMap(({ limit, remaining, reset }) => [limit, remaining, ...(reset ? [reset] : [])]);
    const answers = fc.array(fc.dictionary(fc.constantFrom(...names, "date"), junk), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(answers, fc.nat(100_000), (all, stepMs) => {
        const limits = new ProviderLimits("account");
        let now = 0;
        for (const fields of all) {
          const share = limits.take(100, 60, now);
          now += stepMs;
          limits.learn(table, headersOf(fields), share, now - stepMs, now, WALL);
          for (const { limit, remaining, resetMs } of limits.view(now)) {
            expect(limit).toBeGreaterThan(0);
            expect(remaining).toBeGreaterThanOrEqual(0);
            expect(remaining).toBeLessThanOrEqual(limit);
            expect(resetMs).toBeGreaterThanOrEqual(0);
            expect(Number.isFinite(resetMs)).toBe(true);
          }
          expect(limits.headroom(now)).toBeGreaterThanOrEqual(0);
          expect(limits.headroom(now)).toBeLessThanOrEqual(1);
          const at = limits.roomAt(100, 60, now);
          expect(at).toBeGreaterThanOrEqual(now);
          expect(at - now, "R19: asked again within a minute").toBeLessThanOrEqual(60_000);
          expect(limits.hasRoom(100, 60, at + 1)).toBe(true);
        }
      }),
      { numRuns: 500, seed: 7 },
    );
  });
});

describe("what is left of a limit", () => {
  it("is nothing until a reset at which all comes back", () => {
    const limits = told(OPENAI_NAMED_LIMITS, requests("60", "0", "30"));
    expect(limits.hasRoom(1, 1, 29_999)).toBe(false);
    expect(limits.roomAt(1, 1, 0)).toBe(30_000);
    expect(limits.headroom(0)).toBe(0);
    expect(limits.hasRoom(1, 1, 30_000)).toBe(true);
    expect(limits.headroom(30_000)).toBe(1);
  });

  it("comes back evenly where the upstream has it so", () => {
    // 61 used of which up to one is rounding: one a second.
    const limits = told(EVEN_LIMITS, requests("61", "0", "1m0s"));
    expect(limits.hasRoom(1, 1, 999)).toBe(false);
    expect(limits.roomAt(1, 1, 0)).toBeCloseTo(1_000);
    expect(limits.hasRoom(1, 1, 1_001)).toBe(true);
    limits.take(1, 1, 1_001);
    expect(limits.hasRoom(1, 1, 1_500)).toBe(false);
    expect(limits.view(31_001)).toMatchObject([{ remaining: 30 }]);
  });

  it("is less by what was sent after the request that an answer belongs to", () => {
    const limits = new ProviderLimits("account");
    const first = limits.take(10, 5, 0);
    limits.take(10, 5, 0);
    limits.take(10, 5, 0);
    limits.learn(OPENAI_NAMED_LIMITS, headersOf(requests("10", "4", "60")), first, 0, 0, WALL);
    expect(limits.view(0)).toMatchObject([{ remaining: 2 }]);
  });

  it("is what the latest request's answer says, in whichever order the answers come", () => {
    const limits = new ProviderLimits("account");
    const [first, second] = [limits.take(10, 5, 0), limits.take(10, 5, 0)];
    limits.learn(OPENAI_NAMED_LIMITS, headersOf(requests("10", "3", "60")), second, 0, 5, WALL);
    limits.learn(OPENAI_NAMED_LIMITS, headersOf(requests("10", "9", "60")), first, 0, 6, WALL);
    expect(limits.view(6)).toMatchObject([{ remaining: 3 }]);
  });

  it("has back what an attempt did not use, unless an answer has told of it since", () => {
    const fields = (remaining: string) => ({
      "x-ratelimit-limit-tokens": "1000",
      "x-ratelimit-remaining-tokens": remaining,
      "x-ratelimit-reset-tokens": "60",
    });
    const limits = new ProviderLimits("account");
    const first = limits.take(100, 50, 0);
    limits.learn(OPENAI_NAMED_LIMITS, headersOf(fields("900")), first, 0, 0, WALL);
    const second = limits.take(400, 300, 0);
    expect(limits.view(0)).toMatchObject([{ remaining: 500 }]);
    limits.correct(first, true, 20, 0);
    expect(limits.view(0)).toMatchObject([{ remaining: 500 }]);
    limits.correct(second, true, 350, 0);
    expect(limits.view(0)).toMatchObject([{ remaining: 550 }]);
    limits.correct(limits.take(50, 10, 0), false, 0, 0);
    expect(limits.view(0)).toMatchObject([{ remaining: 550 }]);
  });

  it("a request that is larger than the whole limit goes once all of it is there", () => {
    const limits = told(OPENAI_NAMED_LIMITS, {
      "x-ratelimit-limit-tokens": "100",
      "x-ratelimit-remaining-tokens": "99",
      "x-ratelimit-reset-tokens": "5",
    });
    expect(limits.hasRoom(400, 300, 0)).toBe(false);
    expect(limits.hasRoom(400, 300, 5_000)).toBe(true);
  });

  it("R19: nobody is kept out for longer than a minute without being asked again, by one request at a time", () => {
    const limits = told(OPENAI_NAMED_LIMITS, requests("10", "0", "24h0m0s"));
    expect(limits.hasRoom(1, 1, 59_999)).toBe(false);
    expect(limits.roomAt(1, 1, 0)).toBe(60_000);
    expect(limits.hasRoom(1, 1, 60_000)).toBe(true);
    limits.take(1, 1, 60_000);
    expect(limits.hasRoom(1, 1, 60_001)).toBe(false);
    expect(limits.hasRoom(1, 1, 120_000)).toBe(true);
  });

  it("R19: a wall clock that is hours wrong changes nothing where the upstream says what time it is", () => {
    const fields = {
      date: "Thu, 01 Jan 2026 00:00:00 GMT",
      "anthropic-ratelimit-requests-limit": "61",
      "anthropic-ratelimit-requests-remaining": "0",
      "anthropic-ratelimit-requests-reset": "2026-01-01T00:01:00Z",
    };
    for (const wallNow of [WALL, WALL + 7_200_000, WALL - 7_200_000]) {
      expect(told(ANTHROPIC_LIMITS, fields, wallNow).roomAt(1, 1, 0)).toBeCloseTo(1_000);
    }
  });

  it("is forgotten ten minutes after the upstream has stopped telling", () => {
    const limits = told(EVEN_LIMITS, requests("10", "0", "1m0s"));
    limits.take(1, 1, 599_000);
    expect(limits.isKnown).toBe(true);
    limits.take(1, 1, 1_300_000);
    expect(limits.isKnown).toBe(false);
  });
});

/** A provider with a bucket, that counts when a request comes, and tells what is left then or when it answers. */
class Bucket {
  level: number;
  refused = 0;
  #at = 0;
  constructor(
    readonly limit: number,
    readonly windowMs: number,
    readonly isEven: boolean,
  ) {
    this.level = limit;
  }
  at(now: number): void {
    if (this.isEven) this.level = Math.min(this.limit, this.level + ((now - this.#at) * this.limit) / this.windowMs);
    else if (Math.floor(now / this.windowMs) > Math.floor(this.#at / this.windowMs)) this.level = this.limit;
    this.#at = now;
  }
  take(now: number): void {
    this.at(now);
    if (this.level >= 1 - 1e-9) this.level -= 1;
    else this.refused++;
  }
  tell(now: number): ReadonlyMap<string, string> {
    this.at(now);
    const resetMs = this.isEven
      ? ((this.limit - this.level) * this.windowMs) / this.limit
      : this.windowMs - (now % this.windowMs);
    return headersOf(requests(String(this.limit), String(Math.max(0, Math.floor(this.level + 1e-9))), `${resetMs}ms`));
  }
}

describe("a provider whose limit is told", () => {
  it.each([
    ["evenly, told as the request comes", true, "request"],
    ["evenly, told with the answer", true, "answer"],
    ["at its reset, told with the answer", false, "answer"],
  ] as const)("never refuses a request once it has told it: room comes back %s", (_how, isEven, tells) => {
    for (let seed = 0; seed < 200; seed++) {
      const random = seededRandom(seed);
      const bucket = new Bucket(3 + Math.floor(random.next() * 60), 60_000, isEven);
      const limits = new ProviderLimits("account");
      const underWay: {
        endsAt: number;
        sentAt: number;
        share: ReturnType<ProviderLimits["take"]>;
        said: ReadonlyMap<string, string>;
      }[] = [];
      const table = isEven ? EVEN_LIMITS : OPENAI_NAMED_LIMITS;
      const longestMs = random.next() < 0.5 ? 500 : 20_000;
      // The first answer comes before anybody else is sent: before it nothing is known.
      const send = (now: number, tookMs: number) => {
        const share = limits.take(1, 1, now);
        bucket.take(now);
        underWay.push({ endsAt: now + tookMs, sentAt: now, share, said: bucket.tell(now) });
      };
      const answer = (now: number) => {
        for (let at = underWay.length - 1; at >= 0; at--) {
          const each = underWay[at]!; // in bounds
          if (each.endsAt > now) continue;
          underWay.splice(at, 1);
          limits.learn(table, tells === "request" ? each.said : bucket.tell(now), each.share, each.sentAt, now, WALL);
          limits.correct(each.share, true, 1, now);
        }
      };
      let now = 0;
      send(now, 1);
      let sent = 0;
      for (now = 1; now < 240_000; now += 1 + Math.floor(random.next() * 600)) {
        answer(now);
        // As many as it says there is room for, in bursts.
        while (random.next() < 0.8 && limits.hasRoom(1, 1, now)) {
          send(now, 1 + Math.floor(random.next() * longestMs));
          sent++;
        }
      }
      expect(bucket.refused, `seed ${seed}`).toBe(0);
      // And is used: three windows and more have come back meanwhile.
      expect(sent, `seed ${seed}`).toBeGreaterThan((isEven ? 1.5 : 1) * bucket.limit);
    }
  });
});

describe("a refusal that no limit explains", () => {
  const limitsOf = (options: { rpm?: number; tpm?: number; account?: string }) =>
    new DeploymentLimits({ id: "d", rpm: undefined, tpm: undefined, sharedParallel: undefined, ...options });

  it("has requests spaced evenly, with a second's worth at once", () => {
    const limits = limitsOf({ rpm: 120 });
    limits.take(0, 0).refused(0);
    expect(limits.isPaced(0)).toBe(true);
    let sent = 0;
    for (let now = 0; now < 10_000; now += 10) {
      if (!limits.hasRoom(0, now)) continue;
      limits.take(0, now);
      sent++;
      expect(sent, `at ${now}`).toBeLessThanOrEqual(3 + now / 500);
    }
    expect(sent).toBeGreaterThanOrEqual(20);
  });

  it("spaces tokens alike, and says when there is room", () => {
    const limits = limitsOf({ tpm: 60_000 });
    limits.take(100, 0).refused(0);
    limits.take(5_000, 0);
    expect(limits.hasRoom(100, 0)).toBe(false);
    expect(limits.roomAt(100, 0)).toBe(4_000);
    expect(limits.hasRoom(100, 4_000)).toBe(true);
  });

  it("is over ten minutes after the last of them", () => {
    const limits = limitsOf({ rpm: 1 });
    limits.take(0, 0).refused(0);
    expect(limits.isPaced(599_999)).toBe(true);
    expect(limits.isPaced(600_000)).toBe(false);
    expect(limits.hasRoom(0, 600_000)).toBe(true);
  });

  it("needs a limit to go by", () => {
    const limits = limitsOf({ account: "a" });
    limits.take(0, 0).refused(0);
    expect(limits.isPaced(0)).toBe(false);
  });

  it("is none where its own answer says that nothing is left", () => {
    const limits = limitsOf({ account: "a" });
    const share = limits.take(1, 0);
    share.learn(EVEN_LIMITS, headersOf(requests("61", "0", "60s")), 0, 0, WALL);
    share.refused(0);
    expect(limits.isPaced(0)).toBe(false);
    const other = limits.take(1, 5_000);
    other.learn(EVEN_LIMITS, headersOf(requests("61", "30", "30s")), 5_000, 5_000, WALL);
    other.refused(5_000);
    expect(limits.isPaced(5_000)).toBe(true);
  });

  it("keeps what was learned over a reload that changes other limits, and not that of another account", () => {
    const limits = limitsOf({ account: "a" });
    limits.take(1, 0).learn(OPENAI_NAMED_LIMITS, headersOf(requests("10", "0", "60")), 0, 0, WALL);
    const options = { id: "d", rpm: 100, tpm: undefined, sharedParallel: undefined };
    expect(new DeploymentLimits({ ...options, account: "a" }, limits).hasRoom(1, 1)).toBe(false);
    expect(new DeploymentLimits({ ...options, account: "b" }, limits).hasRoom(1, 1)).toBe(true);
    expect(limits.isLike({ ...options, rpm: undefined, account: "b" })).toBe(false);
  });
});

describe("room that comes back with time", () => {
  it("is there when it was said to be, however the fractions are rounded", () => {
    const random = seededRandom(5);
    for (let round = 0; round < 500; round++) {
      const limit = 1 + Math.floor(random.next() * 10_000);
      const remaining = Math.floor(random.next() * limit);
      const limits = told(EVEN_LIMITS, requests(String(limit), String(remaining)));
      let now = random.next() * 1_000;
      for (let taken = 0; taken <= remaining; taken++) limits.take(1, 1, now);
      now += random.next();
      const at = limits.roomAt(1, 1, now);
      expect(limits.hasRoom(1, 1, at), `${remaining} of ${limit}, at ${at}`).toBe(true);
    }
  });
});
