/**
 * A process with a whole router on shared stores. Told what to do in its one argument, as JSON; see {@link ProcessOrders}.
 * Says `ready`; on `go` sends its requests; says what became of them.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import pg from "pg";
import { createDirectory } from "../../src/access/create-directory.js";
import { RouterError } from "../../src/errors/router-error.js";
import { type Clock, sleepOn } from "../../src/internal/clock.js";
import { seededRandom } from "../../src/internal/random.js";
import type { Ledger } from "../../src/ledger/ledger.js";
import { openDatabase } from "../../src/postgres/database.js";
import { postgresLedger } from "../../src/postgres/postgres-ledger.js";
import { postgresStore } from "../../src/postgres/postgres-store.js";
import { createRedisStore } from "../../src/redis/redis-store.js";
import { Router } from "../../src/router/router.js";
import type { RouterOptions } from "../../src/router/router-options.js";
import type { Store } from "../../src/stores/store.js";
import { defaultTransport } from "../../src/transport/default.js";
import type { Exchange, Transport } from "../../src/transport/transport.js";

/** Where a process kills itself: before a call, when it has been sent, or when it is answered. */
export type KillPoint =
  | `${"store" | "budgetStore"}.${"admit" | "adjust" | "settle" | "heartbeat" | "extend"}:${"before" | "sent" | "answered"}`
  | `ledger.append:${"before" | "sent" | "answered"}`
  | `upstream.call:${"before" | "sent" | "answered"}`
  | "upstream.read:answered";

export interface ProcessOrders {
  readonly redisUrl: string;
  readonly prefix: string;
  /** With it: the ledger is there, and the budgets where {@link areBudgetsApart}. */
  readonly postgresUrl?: string | undefined;
  readonly schema?: string | undefined;
  readonly areBudgetsApart?: boolean | undefined;
  readonly organization: string;
  readonly allowance: Readonly<Record<string, number>>;
  /** `undefined`: answers are made here, and wait for `release`. */
  readonly upstreamUrl?: string | undefined;
  readonly requests: number;
  readonly concurrency: number;
  readonly seed: number;
  /** How many times faster than the world's its time runs, from a moment on that all processes know. */
  readonly speed: number;
  readonly epochMs: number;
  readonly storeTimeoutMs: number;
  /** How long each append of the ledger takes, at least and at most, before it is done or after it; requests then take their time, too. */
  readonly ledgerMs?: readonly [least: number, most: number] | undefined;
  readonly killAt?: { readonly point: KillPoint; readonly count: number } | undefined;
  readonly killAfterMs?: number | undefined;
  /** In the end it waits for other orders, or to be told to go. */
  readonly stays?: boolean | undefined;
}

/** The same time in every process that is told the same, faster than the world's. */
export function fastClock(speed: number, epochMs: number): Clock {
  const wallNow = () => epochMs + (Date.now() - epochMs) * speed;
  const clock: Clock = {
    now: () => performance.now() * speed,
    wallNow,
    schedule(delayMs, run, background) {
      const handle = setTimeout(run, Math.min(Math.max(0, delayMs / speed), 2_147_483_647));
      if (background) handle.unref();
      return { cancel: () => clearTimeout(handle) };
    },
    sleep: (delayMs, signal) => sleepOn(clock, delayMs, signal),
  };
  return clock;
}

/** Between two requests of a process whose ledger is slow: they come while it is. */
const MOST_PAUSE_MS = 800;

export const TEST_PRICE = { input: 1, output: 1 };

/** A router as {@link ProcessOrders} say, and what is to be closed after it. */
export function routerOf(orders: ProcessOrders, kill: (point: KillPoint) => void, transport: Transport) {
  const { redisUrl, prefix, postgresUrl, schema = "switchyard", organization, allowance, speed, epochMs } = orders;
  const clock = fastClock(speed, epochMs);
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: 1 });
  redis.on("error", () => {}); // each command says it
  const limits = createRedisStore(redis, { prefix }, { now: clock.wallNow });
  const pool = postgresUrl === undefined ? undefined : new pg.Pool({ connectionString: postgresUrl, max: 5 });
  pool?.on("error", () => {});
  const database = pool && openDatabase(pool, schema);
  const budgets = database && orders.areBudgetsApart ? postgresStore(database, clock.wallNow) : undefined;
  const options: RouterOptions = {
    clock,
    random: seededRandom(orders.seed),
    transport: killing(transport, kill),
    store: killingStore(limits, "store", kill),
    storeTimeoutMs: orders.storeTimeoutMs,
    plugins: [{ name: "warnings", onWarning: () => {} }], // stores and ledgers at fault are what is tested
    ...(budgets && { budgetStore: killingStore(budgets, "budgetStore", kill) }),
    ...(database && { ledger: killingLedger(slowLedger(postgresLedger(database), orders), kill) }),
    directory: createDirectory({ clock, organizations: { [organization]: allowance } }),
    models: {
      chat: {
        deployments: [
          {
            id: "d",
            provider: "openai-compatible",
            baseUrl: orders.upstreamUrl ?? "http://upstream/v1",
            model: "m",
            price: TEST_PRICE,
          },
        ],
        retries: 0,
        timeouts: {
          connectMs: 5_000 * speed,
          firstTokenMs: 30_000 * speed,
          totalMs: 60_000 * speed,
          idleMs: 30_000 * speed,
        },
      },
    },
  };
  const router = new Router<string>(options);
  const close = async () => {
    await router.close({ drainMs: 0 });
    redis.disconnect();
    await pool?.end();
  };
  return { router, clock, limits, budgets: budgets ?? limits, close };
}

function killingStore(store: Store, name: "store" | "budgetStore", kill: (point: KillPoint) => void): Store {
  return new Proxy(store, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== "function") return member;
      if (!isNamed(property)) return member.bind(target);
      return async (...values: unknown[]) => {
        kill(`${name}.${property}:before`);
        const answer = member.apply(target, values) as Promise<unknown>;
        void sleep(1).then(() => kill(`${name}.${property}:sent`));
        const answered = await answer;
        kill(`${name}.${property}:answered`);
        return answered;
      };
    },
  });
}

const NAMED = ["admit", "adjust", "settle", "heartbeat", "extend"] as const;

function isNamed(property: string | symbol): property is (typeof NAMED)[number] {
  return NAMED.some((name) => name === property);
}

/** Books at once, and says so late, or books late. */
function slowLedger(ledger: Ledger, { ledgerMs, seed }: ProcessOrders): Ledger {
  if (ledgerMs === undefined) return ledger;
  const [least, most] = ledgerMs;
  const random = seededRandom(seed + 1);
  return {
    ...ledger,
    async append(entries) {
      const waitMs = least + random.next() * (most - least);
      const isLate = random.next() < 0.5;
      if (isLate) await sleep(waitMs);
      await ledger.append(entries);
      if (!isLate) await sleep(waitMs);
    },
  };
}

function killingLedger(ledger: Ledger, kill: (point: KillPoint) => void): Ledger {
  return {
    ...ledger,
    async append(entries) {
      kill("ledger.append:before");
      const answer = ledger.append(entries);
      void sleep(1).then(() => kill("ledger.append:sent"));
      await answer;
      kill("ledger.append:answered");
    },
  };
}

function killing(transport: Transport, kill: (point: KillPoint) => void): Transport {
  return {
    get bufferedBytes() {
      return transport.bufferedBytes;
    },
    close: () => transport.close(),
    send(request): Exchange {
      kill("upstream.call:before");
      const exchange = transport.send(request);
      void sleep(1).then(() => kill("upstream.call:sent"));
      const response = exchange.response.then((answer) => {
        kill("upstream.call:answered");
        const { body } = answer;
        return {
          ...answer,
          body: {
            async read() {
              const bytes = await body.read();
              kill("upstream.read:answered");
              return bytes;
            },
            text: (maxBytes: number) => body.text(maxBytes),
          },
        };
      });
      response.catch(() => {});
      return { response, cancel: (reason) => exchange.cancel(reason) };
    },
  };
}

const ANSWER = JSON.stringify({
  id: "x",
  object: "chat.completion",
  created: 1,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "Hello." }, finish_reason: "stop" }],
  usage: { prompt_tokens: 3, completion_tokens: 7, total_tokens: 10 },
});

/** Answers that wait until they are let go, so that nothing comes free while others are decided about. */
function waitingTransport(onSent: () => void): Transport & { release(): void } {
  const waiting: (() => void)[] = [];
  return {
    bufferedBytes: 0,
    async close() {},
    release() {
      for (const go of waiting.splice(0)) go();
    },
    send(request): Exchange {
      onSent();
      request.onConnected?.();
      const response = new Promise<void>((resolve) => waiting.push(resolve)).then(() => ({
        status: 200,
        headers: new Map([["content-type", "application/json"]]),
        body: { read: async () => undefined, text: async () => ANSWER },
      }));
      return { response, cancel: () => {} };
    },
  };
}

async function main(orders: ProcessOrders): Promise<void> {
  const counts = new Map<KillPoint, number>();
  let isGoing = false;
  const kill = (point: KillPoint) => {
    // What happens before the first request, a heartbeat above all, is no point of its own.
    if (!isGoing && !point.includes("heartbeat")) return;
    const count = (counts.get(point) ?? 0) + 1;
    counts.set(point, count);
    if (orders.killAt?.point === point && orders.killAt.count === count) process.kill(process.pid, "SIGKILL");
  };
  let sent = 0;
  const codes: Record<string, number> = {};
  let over = 0;
  const report = () => process.send?.({ sent, codes, over });
  const waiting = waitingTransport(() => {
    sent++;
    if (sent + over === orders.requests) report();
  });
  const transport = orders.upstreamUrl === undefined ? waiting : defaultTransport();
  const { router, close } = routerOf(orders, kill, transport);
  const random = seededRandom(orders.seed);

  const one = async (at: number): Promise<void> => {
    const label = `${orders.organization}-${at}`;
    const isStreaming = orders.upstreamUrl !== undefined && random.next() < 0.5;
    try {
      const data = await router.chat.completions.create(
        // Of equal length, so that all of them cost the same.
        {
          model: "chat",
          messages: [{ role: "user", content: label.padEnd(orders.organization.length + 4) }],
          max_completion_tokens: 50,
          stream: isStreaming,
        },
        { principal: { organization: orders.organization }, tags: [label] },
      );
      if (Symbol.asyncIterator in data) for await (const _ of data);
    } catch (error) {
      const code = RouterError.isRouterError(error) ? error.code : String(error);
      codes[code] = (codes[code] ?? 0) + 1;
      over++;
      if (orders.upstreamUrl === undefined && sent + over === orders.requests) report();
    }
  };
  const listen = async (message: unknown) => {
    if (message === "release") {
      waiting.release();
      return;
    }
    if (message !== "go") return;
    isGoing = true;
    if (orders.killAfterMs !== undefined) setTimeout(() => process.kill(process.pid, "SIGKILL"), orders.killAfterMs);
    let next = 0;
    const work = async () => {
      while (next < orders.requests) {
        await one(next++);
        if (orders.ledgerMs) await sleep(random.next() * MOST_PAUSE_MS);
      }
    };
    await Promise.all(Array.from({ length: orders.concurrency }, work));
    await close();
    await transport.close();
    process.off("message", listen);
    process.send?.({ sent, codes, over, isDone: true });
    if (!orders.stays) process.disconnect?.();
  };
  process.on("message", listen);
  process.send?.("ready");
}

const [, script, orders] = process.argv;
if (script && /accounting-process\.(?:ts|mjs)$/.test(script) && orders !== undefined) {
  process.on("message", (message) => {
    if (typeof message === "object" && message !== null) void main(message as ProcessOrders);
    else if (message === "leave") process.disconnect?.();
  });
  await main(JSON.parse(orders) as ProcessOrders);
}
