/// <reference path="./undici-parts.d.ts" />
import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import type { buildConnector } from "undici";
import { unreachable } from "../errors/upstream-error.js";
import { MAX_HEADER_BYTES } from "./connection-fault.js";
import { Connection, ConnectionPool } from "./connection-pool.js";
import type { BufferGauge } from "./incoming-body.js";
import type { Exchange, Transport, TransportRequest } from "./transport.js";
import { UndiciExchange } from "./undici-exchange.js";

export interface UndiciTransportOptions {
  /** How long a connection without a request stays open where the upstream says nothing, in ms. @default 4000 */
  readonly keepAliveMs?: number | undefined;
  /** The longest time that an upstream's `Keep-Alive: timeout=…` can ask for, in ms. @default 60000 */
  readonly maxKeepAliveMs?: number | undefined;
  /** Most pairs of origin and partition with open connections; above it, the longest unused idle ones are closed. @default 512 */
  readonly maxPools?: number | undefined;
  /** For `https:` origins: own certificate authorities, client certificates … */
  readonly tls?: ConnectionOptions | undefined;
  /**
   * Asked for each new connection, before anything is sent, with the IP address that it really has. `false`
   * refuses it.
   */
  readonly allowAddress?: ((address: string, origin: string) => boolean) | undefined;
}

/** What is used of undici. */
type Undici = Pick<typeof import("undici"), "Client" | "buildConnector">;

let loadedUndici: Undici | undefined;
let loadingUndici: Promise<Undici> | undefined;

/** undici takes a while to load: it is not needed before the first request (P9). */
function loadUndici(): Promise<Undici> {
  loadingUndici ??= importUndici().then((undici) => {
    loadedUndici = undici;
    return undici;
  });
  return loadingUndici;
}

/** In parts: the whole of it, with `fetch`, caches and mocks, takes three times as long. */
async function importUndici(): Promise<Undici> {
  try {
    const [client, connect] = await Promise.all([
      import("undici/lib/dispatcher/client.js"),
      import("undici/lib/core/connect.js"),
    ]);
    if (typeof client.default === "function" && typeof connect.default === "function") {
      return { Client: client.default, buildConnector: connect.default };
    }
  } catch {
    // Below.
  }
  // A version that has them elsewhere: where its parts are is no promise of undici's.
  return import("undici");
}

/**
 * The transport for Node: undici clients, one per connection, pooled per origin and partition.
 *
 * undici's own `Pool` searches all its connections for a free one, so that each request costs more with every open
 * stream (with 4,000 of them twice as much); and it cannot give up a connection that is still being made.
 *
 * @throws {RangeError} an option is out of bounds.
 */
export function undiciTransport(options: UndiciTransportOptions = {}): Transport {
  return new UndiciTransport(options);
}

class UndiciTransport implements Transport {
  readonly #options: UndiciTransportOptions;
  readonly #gauge: BufferGauge = { bytes: 0 };
  /** By origin, then by partition. */
  readonly #pools = new Map<string, Map<string, ConnectionPool>>();
  readonly #connections = new Set<Connection>();
  /** Every socket that is not closed yet, also those that are still connecting. */
  readonly #sockets = new Set<Socket>();
  #connector: buildConnector.connector | undefined;
  #poolCount = 0;
  #uses = 0;
  #isClosed = false;

  constructor(options: UndiciTransportOptions) {
    for (const name of ["keepAliveMs", "maxKeepAliveMs", "maxPools"] as const) {
      const value = options[name];
      if (value !== undefined && !(Number.isFinite(value) && value > 0)) {
        throw new RangeError(`Expected \`${name}\` to be a finite number above 0, got ${value}`);
      }
    }
    this.#options = options;
  }

  get bufferedBytes(): number {
    return this.#gauge.bytes;
  }

  send(request: TransportRequest): Exchange {
    const exchange = new UndiciExchange(request, this.#gauge);
    if (loadedUndici) {
      this.#start(exchange, request, loadedUndici);
    } else {
      loadUndici().then(
        (undici) => this.#start(exchange, request, undici),
        (error: unknown) => exchange.cancel(error),
      );
    }
    return exchange;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const error = unreachable("the transport is closed");
    for (const connection of this.#connections) {
      connection.user?.cancel(error);
      connection.discard();
    }
    await Promise.all(Array.from(this.#sockets, (socket) => new Promise((resolve) => socket.once("close", resolve))));
  }

  #start(exchange: UndiciExchange, request: TransportRequest, undici: Undici): void {
    if (exchange.isOver) return;
    if (this.#isClosed) {
      exchange.cancel(unreachable("the transport is closed"));
      return;
    }
    const pool = request.isStrict ? undefined : this.#poolFor(request.origin, request.partition);
    try {
      exchange.startOn(pool?.take() ?? this.#open(undici, request.origin, pool));
    } catch (error) {
      // No origin that can be called.
      pool?.close();
      exchange.cancel(error);
    }
  }

  #poolFor(origin: string, partition: string): ConnectionPool {
    let partitions = this.#pools.get(origin);
    let pool = partitions?.get(partition);
    if (!pool) {
      if (this.#poolCount >= (this.#options.maxPools ?? 512)) this.#closeOldestIdle();
      pool = new ConnectionPool(() => this.#forget(origin, partition));
      partitions = this.#pools.get(origin) ?? new Map();
      partitions.set(partition, pool);
      this.#pools.set(origin, partitions);
      this.#poolCount++;
    }
    pool.lastUse = ++this.#uses;
    return pool;
  }

  #forget(origin: string, partition: string): void {
    const partitions = this.#pools.get(origin);
    if (!partitions?.delete(partition)) return;
    this.#poolCount--;
    if (partitions.size === 0) this.#pools.delete(origin);
  }

  /** Pools in use stay, even if there are too many of them (R20). */
  #closeOldestIdle(): void {
    let oldest: ConnectionPool | undefined;
    for (const partitions of this.#pools.values()) {
      for (const pool of partitions.values()) {
        if (pool.isIdle && (!oldest || pool.lastUse < oldest.lastUse)) oldest = pool;
      }
    }
    oldest?.close();
  }

  #open(undici: Undici, origin: string, pool: ConnectionPool | undefined): Connection {
    const { keepAliveMs = 4_000, maxKeepAliveMs = 60_000, tls } = this.#options;
    // Deadlines are the caller's, and cancelling closes also a connection in the making.
    // The cast: undici's types take absent options only, Node's also undefined ones.
    this.#connector ??= undici.buildConnector({ ...tls, allowH2: false, timeout: 0 } as buildConnector.BuildOptions);
    const connector = this.#connector;
    const openClient = (use: (socket: Socket) => void) =>
      new undici.Client(origin, {
        connect: (options, callback) => use(this.#connect(connector, origin, options, callback)),
        // undici refuses headers of exactly that size, too.
        maxHeaderSize: MAX_HEADER_BYTES + 1,
        headersTimeout: 0,
        bodyTimeout: 0,
        keepAliveTimeout: keepAliveMs,
        keepAliveMaxTimeout: maxKeepAliveMs,
        allowH2: false,
      });
    return new Connection(openClient, pool, this.#connections);
  }

  #connect(
    connector: buildConnector.connector,
    origin: string,
    options: buildConnector.Options,
    callback: buildConnector.Callback,
  ): Socket {
    const { allowAddress } = this.#options;
    const connected: buildConnector.Callback = (...[error, socket]) => {
      if (error) return callback(error, null);
      if (allowAddress && !allowAddress(socket.remoteAddress ?? "", origin)) {
        socket.destroy();
        return callback(Object.assign(new Error("address not allowed"), { code: "ERR_ADDRESS_NOT_ALLOWED" }), null);
      }
      callback(null, socket);
    };
    // undici's own connector returns the socket, although its type says that connectors return nothing; there is no
    // other way to a socket that is not connected yet.
    const socket = connector(options, connected) as unknown as Socket;
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    return socket;
  }
}
