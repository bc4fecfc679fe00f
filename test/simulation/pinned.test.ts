import { describe, expect, it } from "vitest";
import { RouterError } from "../../src/errors/router-error.js";
import { seededRandom } from "../../src/internal/random.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import { strategyNames } from "../../src/routing/strategies/index.js";
import { virtualClock } from "../../src/testing/index.js";
import type { Exchange, TransportRequest } from "../../src/transport/transport.js";
import { SimulatedTransport } from "../support/simulated-transport.js";

const SEEDS = Number(process.env.SWITCHYARD_SEEDS ?? 200);
const REQUESTS = 14;
const TOKENS = ["one ", "two ", "three"];

/** Sends on, and notes which account was asked for whose file. */
class NotingTransport extends SimulatedTransport {
  readonly asked: { readonly key: string; readonly owner: string; readonly request: string; readonly model: string }[] =
    [];
  override send(request: TransportRequest): Exchange {
    const key = request.headers.authorization?.replace("Bearer ", "") ?? "";
    const body = JSON.parse(String(request.body));
    const id: string | undefined = body.messages[0].content[0].file?.file_id;
    if (id !== undefined) {
      const [owner = "", name = ""] = id.split("/");
      this.asked.push({ key, owner, request: name, model: body.model });
    }
    return super.send(request);
  }
}

/** One seeded run: faults at every seam, aborts, deadlines, reloads, fallbacks, hedges, queues; files of two accounts. */
async function run(seed: number): Promise<number> {
  const random = seededRandom(seed);
  const chance = (share: number) => random.next() < share;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)] as T;
  const clock = virtualClock({ turns: 1 });
  let faultRate = random.next();
  const transport = new NotingTransport({ clock, random, tokens: TOKENS, faultRate: () => faultRate });
  const deployment = (id: string, key: string) => ({
    id,
    provider: "openai" as const,
    baseUrl: "http://api/v1",
    model: id,
    apiKey: key,
    tier: chance(0.3) ? 1 : 0,
    ...(chance(0.4) && { maxParallel: 1 + Math.floor(random.next() * 2) }),
    ...(chance(0.3) && { rpm: 2 + Math.floor(random.next() * 20) }),
  });
  const options = (): RouterOptions => ({
    clock,
    random,
    transport,
    defaults: {
      strategy: pick(strategyNames),
      hedge: chance(0.5),
      midStream: chance(0.5) ? "continue" : "error",
      spillMs: chance(0.5) ? 1 + random.next() * 500 : false,
      cooldown: { panic: chance(0.5) },
      retries: Math.floor(random.next() * 4),
    } as NonNullable<RouterOptions["defaults"]>,
    models: {
      chat: {
        deployments: [deployment("a1", "a"), deployment("b1", "b"), deployment("a2", "a"), deployment("b2", "b")],
        fallbacks: ["mixed", "only-a", "only-b"],
      },
      "only-a": { deployments: [deployment("a3", "a"), deployment("a4", "a")], fallbacks: ["mixed", "more-a"] },
      "only-b": { deployments: [deployment("b3", "b")], fallbacks: ["mixed", "chat"] },
      "more-a": [deployment("a6", "a")],
      mixed: [deployment("a5", "a"), deployment("b5", "b")],
    },
  });
  const router = new Router<string>(options());
  const one = async (name: string): Promise<void> => {
    await clock.sleep(random.next() * 3_000);
    const leaving = new AbortController();
    if (chance(0.2)) void clock.sleep(random.next() * 1_500).then(() => leaving.abort());
    const owner = pick(["a", "b"]);
    // Where the group has one account only, or the caller says.
    const model = pick(["chat", `only-${owner}`]);
    const isStated = model === "chat";
    const content = [{ type: "file" as const, file: { file_id: `${owner}/${name}` } }];
    const stream = chance(0.6);
    const call = { signal: leaving.signal, ...(chance(0.2) && { deadlineMs: 1 + random.next() * 3_000 }) };
    const required = isStated ? { require: { deployment: `${owner}${chance(0.5) ? 1 : 2}` } } : {};
    try {
      const answer = await router.chat.completions.create(
        { model, stream, messages: [{ role: "user", content }] } as never,
        { ...call, ...required },
      );
      if (stream) for await (const _ of answer as unknown as AsyncIterable<unknown>) if (chance(0.02)) break;
    } catch (error) {
      expect(RouterError.isRouterError(error), String((error as Error).stack)).toBe(true);
      expect((error as RouterError).code, String((error as RouterError).cause)).not.toBe("internal_error");
    }
  };
  /** Others of the same router, which go wherever they like. */
  const other = async (): Promise<void> => {
    await clock.sleep(random.next() * 3_000);
    const content = [{ type: "text" as const, text: "Hi" }];
    await router.chat.completions.create({ model: "chat", messages: [{ role: "user", content }] }).catch(() => {});
  };
  const upheaval = async (): Promise<void> => {
    await clock.sleep(random.next() * 3_000);
    const { clock: _, random: __, transport: ___, ...reloadable } = options();
    router.reload(reloadable);
    faultRate = random.next();
  };
  const requests = Array.from({ length: REQUESTS }, (_, index) => (index % 3 === 2 ? other() : one(`r${index}`)));
  await clock.runUntil(Promise.all([...requests, upheaval()]));
  await clock.runUntil(router.close({ drainMs: 0 }));
  // What came after the end marker is read for a second more.
  await clock.advance(2_000);
  expect(transport.open, `seed ${seed}`).toBe(0);

  for (const { key, owner, request } of transport.asked) expect(key, `seed ${seed}, ${request}`).toBe(owner);
  // In its group at one deployment only: another of the same account is asked by a group that follows.
  const groups = ["", "chat", "chat", "only", "only", "mixed", "more"];
  const groupOf = (model: string) => groups[Number(model.at(-1))];
  for (const name of new Set(transport.asked.map(({ request }) => request))) {
    const models = transport.asked.filter(({ request }) => request === name).map(({ model }) => model);
    expect(models.map(groupOf), `seed ${seed}, ${name}`).not.toContain("mixed");
    for (const group of ["chat", "only"]) {
      const tried = new Set(models.filter((model) => groupOf(model) === group));
      expect(tried.size, `seed ${seed}, ${name}: ${[...tried]}`).toBeLessThanOrEqual(1);
    }
  }
  return transport.asked.length;
}

describe("requests that refer to what exists at one account", () => {
  it(`routing invariant 15: are never sent to another, whatever breaks, over ${SEEDS} seeds`, {
    timeout: 240_000,
  }, async () => {
    let asked = 0;
    for (let seed = 1; seed <= SEEDS; seed++) asked += await run(seed);
    expect(asked).toBeGreaterThan(5 * SEEDS);
  });
});
