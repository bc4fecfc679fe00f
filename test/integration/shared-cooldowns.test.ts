import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../src/stores/memory-store.js";
import type { Store } from "../../src/stores/store.js";
import { error, reply, virtualClock } from "../../src/testing/index.js";
import { openedForEachTest } from "../support/opened.js";
import { deploymentOf, HELLO, rejection } from "../support/router-fixtures.js";

const open = openedForEachTest();

/** Two routers stand for two processes over one store. */
async function twoProcesses(first: Parameters<typeof open.upstream>) {
  const clock = virtualClock();
  const store: Store = { ...bound(createMemoryStore({ clock })), name: "shared", isShared: true };
  const upstream = await open.upstream(...first);
  const router = () => {
    // Longer than the longest pause between two looks.
    const cooldown = { baseMs: 60_000 };
    const models = { chat: { deployments: [deploymentOf(upstream, "a")], retries: 0, cooldown } };
    return open.router({ models, store, clock });
  };
  return { clock, upstream, first: router(), second: router() };
}

function bound(store: Store): Store {
  const { admit, reserveDeployment, adjust, settle, extend, heartbeat, sweep, cooldown, cooldowns, budgets } = store;
  const methods = { admit, reserveDeployment, adjust, settle, extend, heartbeat, sweep, cooldown, cooldowns, budgets };
  const entries = Object.entries(methods).map(([name, method]) => [
    name,
    async (...args: unknown[]) => Reflect.apply(method, store, args) as unknown,
  ]);
  return Object.fromEntries(entries) as Store;
}

const ask = { model: "chat", messages: HELLO };

describe("cooldowns of several processes", () => {
  it("what one process finds failing, the others leave alone", async () => {
    const failing = Array.from({ length: 5 }, () => error(500));
    const { clock, upstream, first, second } = await twoProcesses([...failing, reply({ text: "well again" })]);
    for (let call = 0; call < 5; call++) await rejection(first.chat.completions.create(ask));
    expect(first.status().groups[0]?.deployments[0]?.availability).toBe("cooling-down");
    // Nothing asks the store for the second one: it looks every few seconds by itself.
    await clock.advance(8_000);
    expect(second.status().groups[0]?.deployments[0]?.availability).toBe("cooling-down");
    expect(upstream.requests).toHaveLength(5);
    await clock.advance(144_000);
    const { choices } = await second.chat.completions.create(ask);
    expect(choices[0]?.message.content).toBe("well again");
  });

  it("a limit that one process meets, the others keep, too", async () => {
    const limited = error(429, { headers: { "retry-after": "40" } });
    const { clock, first, second } = await twoProcesses([limited, reply({ text: "x" })]);
    await rejection(first.chat.completions.create(ask));
    await clock.advance(8_000);
    expect(second.status().groups[0]?.deployments[0]?.availability).toBe("rate-limited");
    expect(await rejection(second.chat.completions.create(ask))).toMatchObject({ code: "rate_limit_exceeded" });
  });
});
