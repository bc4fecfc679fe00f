import type { RouterEvent } from "./plugin.js";

/** Rough size of an event's fixed part in memory. */
const BASE_BYTES = 512;
const BYTES_PER_CHARACTER = 2;

/** An event with the depth of the request that it is about. */
export interface QueuedEvent {
  readonly event: RouterEvent;
  readonly depth: number;
}

interface Slot extends QueuedEvent {
  readonly bytes: number;
}

/** Events on their way to the observers: bounded, the oldest are dropped and counted (R25). */
export class EventQueue {
  readonly #maxItems: number;
  readonly #maxBytes: number;
  #slots: Slot[] = [];
  #head = 0;
  #bytes = 0;
  #droppedCount = 0;

  constructor(maxItems: number, maxBytes: number) {
    this.#maxItems = maxItems;
    this.#maxBytes = maxBytes;
  }

  get length(): number {
    return this.#slots.length - this.#head;
  }

  get droppedCount(): number {
    return this.#droppedCount;
  }

  push(event: RouterEvent, depth: number): void {
    const bytes = approximateBytes(event);
    this.#slots.push({ event, depth, bytes });
    this.#bytes += bytes;
    while (this.length > this.#maxItems || (this.#bytes > this.#maxBytes && this.length > 1)) {
      this.shift();
      this.#droppedCount++;
    }
  }

  shift(): QueuedEvent | undefined {
    if (this.length === 0) return undefined;
    const slot = this.#slots[this.#head++] as Slot; // in range
    this.#bytes -= slot.bytes;
    if (this.length === 0) {
      this.#slots = [];
      this.#head = 0;
    } else if (this.#head >= 1024 && this.#head * 2 >= this.#slots.length) {
      // Each slot is moved at most once per halving: constant cost per event.
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
    return slot;
  }
}

/** Counts the texts that come from outside; tags and metadata count for each event, although a request's events share them. */
function approximateBytes(event: RouterEvent): number {
  let characters = 0;
  switch (event.type) {
    case "deployment-cooled":
    case "deployment-recovered":
      return BASE_BYTES;
    case "warning-raised":
      characters += event.message.length;
      break;
    default:
      characters += event.model.length;
      for (const tag of event.tags) characters += tag.length;
      for (const name in event.metadata) characters += name.length + (event.metadata[name]?.length ?? 0);
      if (event.type === "request-settled") characters += event.content?.length ?? 0;
      if (event.type === "request-failed") {
        characters += event.error.message.length;
        for (const { message } of event.error.attempts) characters += message.length;
      }
  }
  return BASE_BYTES + characters * BYTES_PER_CHARACTER;
}
