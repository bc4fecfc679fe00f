/** Who may wait for whom: a `batch` request has time. */
export type Priority = "interactive" | "batch";

/** Something that waits. The object itself is its identity; it is added once. */
export interface QueueEntry {
  readonly priority: Priority;
  /** Whose turn it takes. */
  readonly tenant: string;
  /** What it probably uses, in tokens; above 0. */
  readonly cost: number;
  /** When it began to wait, in milliseconds. */
  readonly since: number;
  /** From then on it is not served any more. */
  readonly until: number;
}

export interface FairQueueOptions {
  readonly maxLength: number;
  /** Share of a tenant relative to the others, above 0. @default 1 for everybody */
  readonly weightOf?: ((tenant: string) => number) | undefined;
}

/** Of so many turns in a row each class has its share while both wait (routing §9). */
const CREDITS: Readonly<Record<Priority, number>> = { interactive: 8, batch: 1 };
/** A tenant whose oldest request has waited for longer is served the newest first: it may still be in time. */
const PATIENCE_MS = 500;
/** Tenants that do not wait but were served ahead of others: more are forgotten, those served first. */
const MAX_IDLE = 10_000;

/** What one tenant has waiting in one class. */
class Flow<Entry extends QueueEntry> {
  /** Oldest first. */
  readonly entries: Entry[] = [];
  /** Of all its entries. */
  cost = 0;

  constructor(
    readonly tenant: string,
    readonly weight: number,
    /** Virtual time at which what it was served so far ends. */
    public finishTag: number,
  ) {}
}

/** The requests of one priority: start-time fair queueing among tenants. */
class PriorityClass<Entry extends QueueEntry> {
  length = 0;
  #virtualTime = 0;
  readonly #waiting = new Map<string, Flow<Entry>>();
  /** Finish tags of tenants that do not wait, where they are ahead of the virtual time. */
  readonly #idle = new Map<string, number>();
  readonly #weightOf: (tenant: string) => number;

  constructor(weightOf: (tenant: string) => number) {
    this.#weightOf = weightOf;
  }

  get flows(): Iterable<Flow<Entry>> {
    return this.#waiting.values();
  }

  startTag(flow: Flow<Entry>): number {
    return Math.max(this.#virtualTime, flow.finishTag);
  }

  add(entry: Entry): void {
    const { tenant } = entry;
    let flow = this.#waiting.get(tenant);
    if (!flow) {
      flow = new Flow(tenant, this.#weightOf(tenant), Math.max(this.#virtualTime, this.#idle.get(tenant) ?? 0));
      this.#idle.delete(tenant);
      this.#waiting.set(tenant, flow);
    }
    flow.entries.push(entry);
    flow.cost += entry.cost;
    this.length++;
  }

  remove(entry: Entry): boolean {
    const flow = this.#waiting.get(entry.tenant);
    const position = flow ? flow.entries.indexOf(entry) : -1;
    if (!flow || position < 0) return false;
    this.#take(flow, position);
    return true;
  }

  /** The first in fair order that is taken. */
  serve(now: number, isTaken: (entry: Entry) => boolean): Entry | undefined {
    const next = this.#next();
    if (!next) return undefined;
    // Mostly whoever is first can be served.
    const served = this.#serveFlow(next, now, isTaken);
    if (served) return served;
    const others = [...this.#waiting.values()]
      .filter((flow) => flow !== next)
      .sort((a, b) => (this.#isBefore(a, b) ? -1 : 1));
    for (const flow of others) {
      const taken = this.#serveFlow(flow, now, isTaken);
      if (taken) return taken;
    }
    return undefined;
  }

  #next(): Flow<Entry> | undefined {
    let next: Flow<Entry> | undefined;
    for (const flow of this.#waiting.values()) if (!next || this.#isBefore(flow, next)) next = flow;
    return next;
  }

  /** By start tag; of equals the one that has waited longest. Flows in `#waiting` are never empty. */
  #isBefore(a: Flow<Entry>, b: Flow<Entry>): boolean {
    const [tagA, tagB] = [this.startTag(a), this.startTag(b)];
    return tagA === tagB ? a.entries[0]!.since < b.entries[0]!.since : tagA < tagB;
  }

  #serveFlow(flow: Flow<Entry>, now: number, isTaken: (entry: Entry) => boolean): Entry | undefined {
    const { entries } = flow;
    const isNewestFirst = now - entries[0]!.since > PATIENCE_MS;
    for (let step = 0; step < entries.length; step++) {
      const position = isNewestFirst ? entries.length - 1 - step : step;
      const entry = entries[position]!;
      // Whoever let it wait has not noticed yet that its time is over.
      if (entry.until <= now || !isTaken(entry)) continue;
      const tag = this.startTag(flow);
      this.#virtualTime = tag;
      flow.finishTag = tag + entry.cost / flow.weight;
      this.#take(flow, position);
      return entry;
    }
    return undefined;
  }

  #take(flow: Flow<Entry>, position: number): void {
    const [entry] = flow.entries.splice(position, 1);
    flow.cost -= entry!.cost;
    this.length--;
    if (flow.entries.length > 0) return;
    this.#waiting.delete(flow.tenant);
    if (this.#waiting.size === 0) {
      // Nobody competes: what was served so far is no debt any more.
      this.#virtualTime = 0;
      this.#idle.clear();
    } else if (flow.finishTag > this.#virtualTime) this.#remember(flow);
  }

  #remember({ tenant, finishTag }: Flow<Entry>): void {
    this.#idle.set(tenant, finishTag);
    if (this.#idle.size <= MAX_IDLE) return;
    for (const [each, tag] of this.#idle) if (tag <= this.#virtualTime) this.#idle.delete(each);
    for (const each of this.#idle.keys()) {
      if (this.#idle.size <= MAX_IDLE) return;
      this.#idle.delete(each);
    }
  }
}

/**
 * Requests that wait for a slot, and whose turn is next (routing §9): two priorities that share by credits, 8 turns to 1,
 * and within each the tenants by what they have used, so that nobody's crowd delays somebody else's single request.
 *
 * A plain structure: it knows no timers. Whoever adds an entry removes it when its time is over or its caller leaves.
 *
 * @see Goyal, Vin, Cheng: Start-time Fair Queueing (1996)
 */
export class FairQueue<Entry extends QueueEntry> {
  maxLength: number;
  readonly #classes: Readonly<Record<Priority, PriorityClass<Entry>>>;
  readonly #credits: Record<Priority, number> = { ...CREDITS };

  constructor({ maxLength, weightOf = () => 1 }: FairQueueOptions) {
    this.maxLength = maxLength;
    this.#classes = { interactive: new PriorityClass(weightOf), batch: new PriorityClass(weightOf) };
  }

  get length(): number {
    return this.#classes.interactive.length + this.#classes.batch.length;
  }

  lengthOf(priority: Priority): number {
    return this.#classes[priority].length;
  }

  /** Where each waiting tenant stands: the lowest is next. For tests of fairness. */
  startTags(priority: Priority): ReadonlyMap<string, number> {
    const ranks = this.#classes[priority];
    return new Map([...ranks.flows].map((flow) => [flow.tenant, ranks.startTag(flow)]));
  }

  /** @returns who has to leave because the queue is full: the newest of whoever has most waiting, maybe `entry` itself. */
  add(entry: Entry): Entry | undefined {
    this.#classes[entry.priority].add(entry);
    if (this.length <= this.maxLength) return undefined;
    const dropped = this.#mostQueued()?.entries.at(-1);
    if (dropped) this.remove(dropped);
    return dropped;
  }

  /** @returns whether it was waiting. */
  remove(entry: Entry): boolean {
    const isRemoved = this.#classes[entry.priority].remove(entry);
    if (this.length === 0) Object.assign(this.#credits, CREDITS);
    return isRemoved;
  }

  /**
   * Offers what waits, in order of turns, until an entry is taken; an entry that cannot be served blocks nobody.
   *
   * @param isTaken - Called at most once for each entry. What it takes has left the queue when this returns.
   */
  serve(now: number, isTaken: (entry: Entry) => boolean): Entry | undefined {
    const first = this.#turn();
    const second = first === "interactive" ? "batch" : "interactive";
    const served = this.#classes[first].serve(now, isTaken) ?? this.#classes[second].serve(now, isTaken);
    if (!served) return undefined;
    if (this.#credits[served.priority] > 0) this.#credits[served.priority]--;
    if (this.length === 0) Object.assign(this.#credits, CREDITS);
    return served;
  }

  #turn(): Priority {
    const { interactive, batch } = this.#classes;
    if (batch.length === 0) return "interactive";
    if (interactive.length === 0) return "batch";
    if (this.#credits.interactive === 0 && this.#credits.batch === 0) Object.assign(this.#credits, CREDITS);
    return this.#credits.interactive > 0 ? "interactive" : "batch";
  }

  #mostQueued(): Flow<Entry> | undefined {
    let most: Flow<Entry> | undefined;
    for (const { flows } of Object.values(this.#classes)) {
      for (const flow of flows) if (!most || flow.cost / flow.weight > most.cost / most.weight) most = flow;
    }
    return most;
  }
}
