import type { Socket } from "node:net";
import type { Client, Dispatcher } from "undici";
import { InterimResponses } from "./interim-responses.js";

/** A call on a connection. */
export interface ConnectionUser extends Dispatcher.DispatchHandler {
  cancel(reason: unknown): void;
}

// One for all: whoever waits on a discarded connection has been told its own reason before.
const DISCARDED = new Error("the connection is discarded");
const nothing = () => {};

/** One undici client: a connection, from before it is made until it is closed, with one call at a time. */
export class Connection {
  /** The call that has it. */
  user: ConnectionUser | undefined;
  /** The peer reset it: an answer that ended with the connection did not end well. */
  isReset = false;
  /** Position among the free ones of its pool; -1 elsewhere. */
  freeIndex = -1;
  readonly #client: Client;
  readonly #pool: ConnectionPool | undefined;
  readonly #all: Set<Connection>;
  /** Its last call is complete, but bytes that may have come after the answer have not been looked at. */
  #isResting = false;
  /** The call that waits for that. */
  #next: Dispatcher.DispatchOptions | undefined;
  #socket: Socket | undefined;
  #interimResponses: InterimResponses | undefined;

  /**
   * @param openClient - Makes the client; it hands over each socket that it uses.
   * @param pool - Takes it back after each call; without one it is used once.
   * @param all - Has it as long as it exists.
   */
  constructor(
    openClient: (use: (socket: Socket) => void) => Client,
    pool: ConnectionPool | undefined,
    all: Set<Connection>,
  ) {
    this.#client = openClient((socket) => this.#use(socket));
    // A call that is still waiting to be written stays: undici connects again for it.
    this.#client.on("disconnect", () => this.user ?? this.#leave());
    this.#client.on("drain", () => this.#rested());
    this.#pool = pool;
    this.#all = all;
    all.add(this);
    pool?.add();
  }

  get isUsable(): boolean {
    return this.#socket?.destroyed === false;
  }

  start(user: ConnectionUser, request: Dispatcher.DispatchOptions): void {
    this.user = user;
    if (this.#isResting) this.#next = request;
    else this.#client.dispatch(request, user);
  }

  /** The call's request is being written. */
  expectAnswer(): void {
    this.#interimResponses?.expect();
  }

  /** The call is complete. undici itself closes a connection that must not be used again. */
  release(): void {
    this.user = undefined;
    this.#isResting = true;
    this.#pool?.put(this);
  }

  /** Closes it, also while it is still being made. Its user must know already. */
  discard(): void {
    this.user = undefined;
    this.#next = undefined;
    this.#client.destroy(DISCARDED, nothing);
    this.#socket?.destroy();
    this.#leave();
  }

  /**
   * undici is ready for the next call. Only from here on does it look for surplus bytes before it writes a request;
   * one given to it earlier is written before the socket is read again, and would get them for its answer (S38).
   */
  #rested(): void {
    this.#isResting = false;
    const { user } = this;
    const request = this.#next;
    this.#next = undefined;
    if (user && request) this.#client.dispatch(request, user);
  }

  #use(socket: Socket): void {
    this.#socket = socket;
    this.#interimResponses = new InterimResponses(socket);
    this.isReset = false;
    // Before undici listens, which may take a reset for the end of the answer.
    socket.once("error", () => {
      this.isReset = true;
    });
  }

  #leave(): void {
    if (this.#all.delete(this)) this.#pool?.remove(this);
  }
}

/** The connections of one origin and partition. */
export class ConnectionPool {
  /** Orders pools by their last use. */
  lastUse = 0;
  /** The last one back is the first one taken, so that the others can time out. */
  readonly #free: Connection[] = [];
  #size = 0;
  readonly #onEmpty: () => void;

  /** @param onEmpty - The last connection is gone. */
  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty;
  }

  get isIdle(): boolean {
    return this.#free.length === this.#size;
  }

  /** A free connection, if there is one. */
  take(): Connection | undefined {
    for (;;) {
      const connection = this.#free.pop();
      if (!connection) return undefined;
      connection.freeIndex = -1;
      if (connection.isUsable) return connection;
    }
  }

  put(connection: Connection): void {
    connection.freeIndex = this.#free.push(connection) - 1;
  }

  add(): void {
    this.#size++;
  }

  remove(connection: Connection): void {
    this.#size--;
    const index = connection.freeIndex;
    if (index >= 0) {
      connection.freeIndex = -1;
      const last = this.#free.pop();
      if (last && last !== connection) {
        this.#free[index] = last;
        last.freeIndex = index;
      }
    }
    if (this.#size === 0) this.#onEmpty();
  }

  /** Closes all connections, if none is in use. */
  close(): void {
    if (!this.isIdle) return;
    for (const connection of [...this.#free]) connection.discard();
    // One whose first connection could not even be begun.
    if (this.#size === 0) this.#onEmpty();
  }
}
