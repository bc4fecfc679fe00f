import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";

/** Whatever can say how many requests and connections it has: a `FakeUpstream`. */
export interface WatchedUpstream {
  readonly inFlight: number;
  readonly openConnections: number;
}

/** Whatever can say what it holds: a `Router`. */
export interface WatchedRouter {
  status(): { readonly inFlight: number; readonly leases: number };
}

export interface LeakWatch {
  /** Checks the upstream after the test, or after the file where it is watched outside of a test. @returns the same. */
  upstream<T extends WatchedUpstream>(upstream: T): T;
  /** Checks the router alike. @returns the same. */
  router<T extends WatchedRouter>(router: T): T;
}

export interface LeakWatchOptions {
  /**
   * When sockets and timers of the process must be back to what they were: after each test, or after all tests of the
   * file, for files whose tests share a router or a server.
   */
  readonly resources?: "each-test" | "file";
}

/** R3: gauges are 0 within a second after traffic stops. */
const SETTLE_MS = 1_000;
/** What a library can leave open. The runner has pipes, ports and file requests of its own. */
const RESOURCES = ["TCPSocketWrap", "TCPServerWrap", "TCPConnectWrap", "TLSWrap"];

/**
 * Fails a test that leaves something behind: an unhandled rejection, an uncaught error, a request in flight, a lease, a
 * connection, a socket, a timer. Call it first in a file, so that its check comes after the file's own clean-up.
 */
export function expectNothingLeaks({ resources = "each-test" }: LeakWatchOptions = {}): LeakWatch {
  const escaped: unknown[] = [];
  const trap = (problem: unknown) => escaped.push(problem);
  const timers = new TimerWatch();
  const watched = { test: new Watched(), file: new Watched() };
  let isInTest = false;
  let baseline: Readonly<Record<string, number>> = {};

  const beginResources = () => {
    timers.begin();
    baseline = activeResources();
  };
  const endResources = async () => {
    try {
      await until(
        () => [...surplus(baseline, activeResources()), ...timers.pending()],
        (left) => `still open: ${left.join("\n")}`,
      );
    } finally {
      timers.end();
    }
  };

  beforeAll(() => {
    process.on("unhandledRejection", trap);
    process.on("uncaughtException", trap);
    if (resources === "file") beginResources();
  });
  beforeEach(() => {
    isInTest = true;
    escaped.length = 0;
    if (resources === "each-test") beginResources();
  });
  afterEach(async () => {
    isInTest = false;
    try {
      await watched.test.untilIdle();
    } finally {
      if (resources === "each-test") await endResources();
    }
    // Rejections are reported after the promise jobs of the turn in which they happened.
    await new Promise((resolve) => setImmediate(resolve));
    expect(escaped, "nothing escapes (R8)").toEqual([]);
  });
  afterAll(async () => {
    try {
      await watched.file.untilIdle();
    } finally {
      process.off("unhandledRejection", trap);
      process.off("uncaughtException", trap);
      if (resources === "file") await endResources();
    }
  });

  return {
    upstream(upstream) {
      (isInTest ? watched.test : watched.file).upstreams.push(upstream);
      return upstream;
    },
    router(router) {
      (isInTest ? watched.test : watched.file).routers.push(router);
      return router;
    },
  };
}

/** @throws what `describe` makes of what is left after {@link SETTLE_MS}. */
async function until(left: () => readonly string[], describe: (left: readonly string[]) => string): Promise<void> {
  const endAt = performance.now() + SETTLE_MS;
  for (let remaining = left(); remaining.length > 0; remaining = left()) {
    if (performance.now() > endAt) throw new Error(describe(remaining));
    await new Promise((resolve) => realSetTimeout(resolve, 5));
  }
}

class Watched {
  readonly upstreams: WatchedUpstream[] = [];
  readonly routers: WatchedRouter[] = [];

  /** Everything is forgotten either way. */
  async untilIdle(): Promise<void> {
    const upstreams = this.upstreams.splice(0);
    const routers = this.routers.splice(0);
    const left = () => [
      ...routers.flatMap((router, i) => {
        const { inFlight, leases } = router.status();
        return inFlight === 0 && leases === 0 ? [] : [`router ${i}: ${inFlight} in flight, ${leases} leases`];
      }),
      ...upstreams.flatMap(({ inFlight, openConnections }, i) =>
        inFlight === 0 && openConnections === 0
          ? []
          : [`upstream ${i}: ${inFlight} in flight, ${openConnections} connections`],
      ),
    ];
    await until(left, (remaining) => `not idle ${SETTLE_MS} ms after the test (R3): ${remaining.join("; ")}`);
  }
}

function activeResources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const resource of process.getActiveResourcesInfo()) {
    if (RESOURCES.includes(resource)) counts[resource] = (counts[resource] ?? 0) + 1;
  }
  return counts;
}

function surplus(before: Readonly<Record<string, number>>, now: Readonly<Record<string, number>>): string[] {
  return Object.keys(now)
    .filter((kind) => (now[kind] ?? 0) > (before[kind] ?? 0))
    .map((kind) => `${kind} (${before[kind] ?? 0} before, ${now[kind]} now)`);
}

const realSetTimeout = globalThis.setTimeout;
const realClearTimeout = globalThis.clearTimeout;

/**
 * Timers that are set and neither fired nor cleared, background ones included. Watches the global functions: the
 * library calls them in one place only, and the runner keeps the original ones for itself.
 */
class TimerWatch {
  readonly #pending = new Map<unknown, string>();

  begin(): void {
    this.#pending.clear();
    const set = (run: (...values: unknown[]) => void, delayMs?: number, ...values: unknown[]) => {
      const handle = realSetTimeout(() => {
        this.#pending.delete(handle);
        run(...values);
      }, delayMs);
      const [caller = "", ...above] = new Error().stack?.split("\n").slice(2, 8) ?? [];
      // Packages keep timers of their own, which end by themselves.
      if (!caller.includes("node_modules")) {
        this.#pending.set(handle, [`timer of ${delayMs} ms, set`, caller, ...above].join("\n"));
      }
      return handle;
    };
    const clear = (handle: NodeJS.Timeout | string | number | undefined) => {
      this.#pending.delete(handle);
      realClearTimeout(handle);
    };
    // The overloads of the originals have further members that no timer here uses.
    globalThis.setTimeout = set as typeof globalThis.setTimeout;
    globalThis.clearTimeout = clear as typeof globalThis.clearTimeout;
  }

  pending(): string[] {
    return [...this.#pending.values()];
  }

  end(): void {
    globalThis.setTimeout = realSetTimeout;
    globalThis.clearTimeout = realClearTimeout;
  }
}
