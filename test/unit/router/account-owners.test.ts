import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AccountOwners } from "../../../src/router/account-owners.js";
import { virtualClock } from "../../../src/testing/index.js";
import { handClock } from "../../support/candidates.js";

const HOUR = 3_600_000;

function scene() {
  const clock = virtualClock();
  return { clock, owners: new AccountOwners(clock) };
}

describe("at which account the audio of earlier answers exists", () => {
  it("S40: is known to the tenant that got it, for an hour", async () => {
    const { clock, owners } = scene();
    owners.note("organization:a", "audio_1", "account 1");
    expect(owners.accountOf("organization:a", "audio_1")).toBe("account 1");
    expect(owners.accountOf("organization:b", "audio_1")).toBeUndefined();
    await clock.advance(HOUR - 1);
    expect(owners.accountOf("organization:a", "audio_1")).toBe("account 1");
    await clock.advance(1);
    expect(owners.accountOf("organization:a", "audio_1")).toBeUndefined();
  });

  it("R26: is not forgotten because another tenant has very much of it", () => {
    const { owners } = scene();
    owners.note("organization:small", "audio_1", "account 1");
    for (let count = 0; count < 50_000; count++) owners.note("organization:large", `audio_${count}`, "account 2");
    expect(owners.accountOf("organization:small", "audio_1")).toBe("account 1");
    // Its own oldest ones were.
    expect(owners.accountOf("organization:large", "audio_0")).toBeUndefined();
    expect(owners.accountOf("organization:large", "audio_49999")).toBe("account 2");
    expect(owners.size).toBe(10_000);
  });

  it("R26: is not forgotten because an answer has ids without end", () => {
    const { owners } = scene();
    for (let tenant = 0; tenant < 100; tenant++) owners.note(`organization:${tenant}`, "audio_1", "account 1");
    for (let count = 0; count < 20_000; count++) owners.note("organization:7", `audio_${count}`, "account 2");
    for (let tenant = 0; tenant < 100; tenant++) {
      const isTheOne = tenant === 7;
      expect(owners.accountOf(`organization:${tenant}`, "audio_1")).toBe(isTheOne ? undefined : "account 1");
    }
  });

  it("S27: is bounded, however many tenants there are, and what is over gives way first", async () => {
    const { clock, owners } = scene();
    for (let tenant = 0; tenant < 25_000; tenant++) owners.note(`key:${tenant}`, "audio_1", "account 1");
    expect(owners.size).toBe(10_000);
    expect(owners.accountOf("key:14999", "audio_1")).toBeUndefined();
    expect(owners.accountOf("key:15000", "audio_1")).toBe("account 1");
    await clock.advance(HOUR);
    // One more than there was room for beside what nobody will ask for again.
    owners.note("key:a", "audio_1", "account 1");
    owners.note("key:a", "audio_2", "account 1");
    expect(owners.size).toBe(2);
    expect(owners.accountOf("key:a", "audio_1")).toBe("account 1");
  });

  it("is the last one said of an id", () => {
    const { owners } = scene();
    owners.note("organization:a", "audio_1", "account 1");
    owners.note("organization:a", "audio_1", "account 2");
    expect([owners.accountOf("organization:a", "audio_1"), owners.size]).toEqual(["account 2", 1]);
    for (const id of ["", "x".repeat(257)]) owners.note("organization:a", id, "account 1");
    expect(owners.size).toBe(1);
  });

  it("R26: is never forgotten of who keeps to its equal share, and never given out when its time is over", () => {
    const [MOST, TENANTS] = [20, 5];
    const step = fc.record({ tenant: fc.nat(TENANTS - 1), id: fc.nat(30), passMs: fc.constantFrom(0, 0, 1, HOUR / 4) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
        const clock = handClock();
        const owners = new AccountOwners(clock, MOST);
        const noted = new Map<string, number>();
        for (const { tenant, id: drawn, passMs } of steps) {
          clock.time += passMs;
          // Two of them are modest, and the others take what they get.
          const isModest = tenant < 2;
          const id = `${isModest ? drawn % (MOST / TENANTS) : drawn}`;
          owners.note(`t${tenant}`, id, `account ${tenant}`);
          noted.set(`t${tenant} ${id}`, clock.time);
          const wrong = [...noted].filter(([which, at]) => {
            const [whose = "", what = ""] = which.split(" ");
            const account = owners.accountOf(whose, what);
            if (clock.time - at >= HOUR) return account !== undefined;
            return whose < "t2" && account !== `account ${whose.slice(1)}`;
          });
          expect(wrong).toEqual([]);
          expect(owners.size).toBeLessThanOrEqual(MOST);
        }
      }),
    );
  });
});
