type Value = string | number | boolean | undefined;

/**
 * Finds what belongs to a combination of values by one value after the other. Putting a key together of them for a map costs
 * several times as much: the text has to be made and hashed each time, where names of a configuration are hashed once.
 */
export class ValueTree<T> {
  readonly #maxNodes: number;
  #root = new ValueNode<T>();
  #nodeCount = 0;

  /** @param maxNodes - Beyond this many it begins anew: whatever it finds can be made again. */
  constructor(maxNodes: number) {
    this.#maxNodes = maxNodes;
  }

  /** Where a walk begins. Not to be kept. */
  get root(): ValueNode<T> {
    if (this.#nodeCount >= this.#maxNodes) this.clear();
    return this.#root;
  }

  /** The next step of a walk. */
  step(node: ValueNode<T>, value: Value): ValueNode<T> {
    const known = node.children.get(value);
    if (known) return known;
    const next = new ValueNode<T>();
    node.children.set(value, next);
    this.#nodeCount += 1;
    return next;
  }

  clear(): void {
    this.#root = new ValueNode();
    this.#nodeCount = 0;
  }
}

export class ValueNode<T> {
  readonly children = new Map<Value, ValueNode<T>>();
  /** What belongs to the values up to here. */
  value: T | undefined;
}
