/** A timer on virtual time. */
export interface HeapTimer {
  readonly dueMs: number;
  /** Order of setting: decides between equal due times. */
  readonly sequence: number;
  /** Neither fired nor cancelled. */
  isPending: boolean;
}

/** The timers by due time and sequence: a binary heap. Cancelled ones stay in it until they surface or outnumber the rest. */
export class TimerHeap<T extends HeapTimer> {
  #timers: T[] = [];

  /** The earliest timer that is not cancelled. */
  peek(): T | undefined {
    let first = this.#timers[0];
    while (first && !first.isPending) {
      this.pop();
      first = this.#timers[0];
    }
    return first;
  }

  push(timer: T): void {
    const timers = this.#timers;
    let index = timers.push(timer) - 1;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = timers[parentIndex] as T; // in range: smaller than `index`
      if (!isBefore(timer, parent)) break;
      timers[index] = parent;
      index = parentIndex;
    }
    timers[index] = timer;
  }

  /** Removes the first timer, cancelled or not. */
  pop(): void {
    const timers = this.#timers;
    const last = timers.pop();
    if (!last || timers.length === 0) return;
    let index = 0;
    for (;;) {
      let childIndex = 2 * index + 1;
      let child = timers[childIndex];
      if (!child) break;
      const right = timers[childIndex + 1];
      if (right && isBefore(right, child)) {
        child = right;
        childIndex++;
      }
      if (!isBefore(child, last)) break;
      timers[index] = child;
      index = childIndex;
    }
    timers[index] = last;
  }

  /** Long deadlines are mostly cancelled: without this they would pile up until their far due time. */
  noteCancelled(pendingCount: number): void {
    if (this.#timers.length < 64 || this.#timers.length < 2 * pendingCount) return;
    // A sorted array is a heap.
    this.#timers = this.#timers.filter((timer) => timer.isPending).sort((a, b) => (isBefore(a, b) ? -1 : 1));
  }
}

function isBefore(a: HeapTimer, b: HeapTimer): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.sequence < b.sequence);
}
