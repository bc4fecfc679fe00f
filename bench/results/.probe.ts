import { seededRandom } from "../../src/internal/random.js";
import { aChoice, aPool, handClock } from "../../test/support/candidates.js";

const clock = handClock(1000);
const random = seededRandom(7);
const mode = process.argv[2];
const { pool, healths } = aPool(
  Array.from({ length: 256 }, () => ({})),
  { clock, random, strategy: () => ({ name: "first", isBuiltIn: true as const, pick: (c) => c[0]! }) },
);
if (mode === "warm")
  for (const health of healths)
    for (let s = 0; s < 5; s++) {
      const a = health.begin({ uncachedTokens: 500, isStreaming: true, expectedOutputTokens: 180 });
      clock.time += 100.5;
      a.firstToken();
      clock.time += 300.5;
      a.end({ outcome: "ok", outputTokens: 100 });
    }
const request = aChoice({ promptTokens: 500, random, now: clock.time });
for (let r = 0; r < 8; r++) {
  const s = performance.now();
  for (let k = 0; k < 10000; k++) pool.choose(request);
  console.log(((performance.now() - s) * 1e6) / 10000 / 256, "ns/cand");
}
