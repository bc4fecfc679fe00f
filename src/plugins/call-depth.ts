import { routerError } from "../errors/router-error.js";

/**
 * How deep requests that plugins make are inside of each other, so that a plugin which asks its own router cannot do
 * so for ever.
 *
 * Kept per process, not per router: a reload replaces plugins while their requests run, and plugins of two routers may
 * ask each other. Nothing is tracked before a plugin makes its first request: on Node 20 and 22 an `AsyncLocalStorage`
 * in use makes every promise slower. Whatever runs at that moment belongs to callers' own requests, so 0 is right.
 */
export const MAX_CALL_DEPTH = 3;

interface DepthStore {
  getStore(): number | undefined;
  run<T>(depth: number, call: () => T): T;
}

/** For runtimes without a context that follows promises: right only until the first of them. */
class SynchronousDepth implements DepthStore {
  #depth: number | undefined;

  getStore(): number | undefined {
    return this.#depth;
  }

  run<T>(depth: number, call: () => T): T {
    const outer = this.#depth;
    this.#depth = depth;
    try {
      return call();
    } finally {
      this.#depth = outer;
    }
  }
}

let store: DepthStore | undefined;

/** Depth of the request that the code which runs now is part of; 0 for callers' own, and outside of requests. */
export function currentCallDepth(): number {
  return store?.getStore() ?? 0;
}

/**
 * Depth of a request that is being made now.
 * @throws {RouterError} `invalid_request`: more than {@link MAX_CALL_DEPTH}.
 */
export function admitCallDepth(): number {
  const depth = currentCallDepth();
  if (depth <= MAX_CALL_DEPTH) return depth;
  throw routerError("invalid_request", {
    message: `Requests that plugins make may be at most ${MAX_CALL_DEPTH} deep.`,
  });
}

/** Runs `call` as part of a request of this depth. */
export function atCallDepth<T>(depth: number, call: () => T): T {
  return store ? store.run(depth, call) : call();
}

/** The same object for plugins: what they call on it, or on objects in it, is a level deeper than where they run. */
export function facadeOf<T extends object>(target: T): T {
  const facades = new WeakMap<object, object>();
  const facade = (of: object): object => {
    let made = facades.get(of);
    if (!made) {
      // Over an empty object: a proxy may not hide frozen properties of its own target.
      made = new Proxy(
        {},
        {
          get(_, key) {
            const value: unknown = Reflect.get(of, key, of);
            if (typeof value === "function") {
              return (...rest: unknown[]) => {
                const result: unknown = deeper(() => value.apply(of, rest));
                // A batch makes its requests while it is read, where its reader runs.
                return isAsyncIterable(result) ? facade(result) : result;
              };
            }
            return typeof value === "object" && value !== null ? facade(value) : value;
          },
          has: (_, key) => Reflect.has(of, key),
          getPrototypeOf: () => Reflect.getPrototypeOf(of),
          set: () => false,
          defineProperty: () => false,
          deleteProperty: () => false,
        },
      );
      facades.set(of, made);
    }
    return made;
  };
  return facade(target) as T; // answers for every property of the target
}

function isAsyncIterable(value: unknown): value is object {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

function deeper<T>(call: () => T): T {
  store ??= createStore();
  return store.run(currentCallDepth() + 1, call);
}

function createStore(): DepthStore {
  // Not an import: other runtimes have no such module, and the main entry must load there.
  const AsyncLocalStorage = globalThis.process?.getBuiltinModule?.("node:async_hooks")?.AsyncLocalStorage;
  return AsyncLocalStorage ? new AsyncLocalStorage<number>() : new SynchronousDepth();
}
