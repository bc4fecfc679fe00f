const LF = 10;

/**
 * Follows where the events of a stream begin, for a reader that gets some of its bytes only. An event ends at an empty line;
 * of the line ends that there are, LF alone is looked for: streams with others are never between events.
 */
export class EventCutter {
  /** What comes next begins an event. */
  isBetweenEvents = true;
  #endsWithLf = false;

  /** @returns the end of the event that the bytes at `start` belong to, or their own end where it has not come. */
  skipEvent(bytes: Uint8Array, start: number): number {
    const { length } = bytes;
    let end = start;
    // The empty line may be cut in two.
    if (this.#endsWithLf && bytes[start] === LF) end = start + 1;
    else {
      for (let at = bytes.indexOf(LF, start); ; at = bytes.indexOf(LF, at + 1)) {
        if (at === -1 || at + 1 === length) return this.#stopAt(bytes, length, false);
        if (bytes[at + 1] !== LF) continue;
        end = at + 2;
        break;
      }
    }
    return this.#stopAt(bytes, end, true);
  }

  /** As if all bytes were one event. @returns their end. */
  skipAll(bytes: Uint8Array, start: number): number {
    const { length } = bytes;
    const before = length - start >= 2 ? bytes[length - 2] === LF : this.#endsWithLf;
    return this.#stopAt(bytes, length, before && bytes[length - 1] === LF);
  }

  #stopAt(bytes: Uint8Array, end: number, isBetweenEvents: boolean): number {
    this.isBetweenEvents = isBetweenEvents;
    // After an empty line the next one begins afresh.
    this.#endsWithLf = !isBetweenEvents && bytes[end - 1] === LF;
    return end;
  }
}
