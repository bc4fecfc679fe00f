import { type ValueNode, ValueTree } from "../../internal/value-tree.js";
import type { SettledEvent } from "../plugin.js";
import {
  filled,
  type RecordFields,
  type RequestTelemetry,
  requestRecord,
  tenths,
  withChosen,
} from "../telemetry/records.js";

/** The fields of a record that are the same for many requests; the others are those of {@link ownFields}. */
const REPEATED = [
  "recordVersion",
  "kind",
  "operation",
  "model",
  "group",
  "user",
  "team",
  "organization",
  "experiment",
  "variant",
  "isStreaming",
  "outcome",
  "code",
  "finishReason",
  "deployment",
  "provider",
  "answeredBy",
  "cache",
  "attempts",
  "groups",
  "isUsageEstimated",
] as const satisfies readonly (keyof RequestTelemetry)[];

type OwnFields = Omit<RequestTelemetry, (typeof REPEATED)[number]>;

/** Loggers that are kept; what comes later is written out. Each is an object and the text of its fields. */
const MAX_LOGGERS = 1_000;
/** More than so many loggers can have: a walk makes at most a node for each repeated field. */
const MAX_NODES = (MAX_LOGGERS + 1) * REPEATED.length;

/**
 * Loggers that have the repeated fields of a request's record bound already, made with `child`: a logger of `pino` turns
 * these into text once, and then has half as many to write for each line.
 */
export class BoundLoggers<L> {
  readonly #child: (fields: Record<string, unknown>) => L;
  readonly #loggers = new ValueTree<L>(MAX_NODES);
  #count = 0;

  constructor(child: (fields: Record<string, unknown>) => L) {
    this.#child = child;
  }

  /** @returns `undefined`: there are as many as may be, or the request tells of more groups than its own. */
  of(event: SettledEvent): L | undefined {
    if (event.groups.length !== 1 || event.groups[0] !== event.group) return undefined;
    const isFull = this.#count >= MAX_LOGGERS;
    let node: ValueNode<L> | undefined = this.#loggers.root;
    for (const distinction of DISTINCTIONS) {
      node = isFull ? node.children.get(distinction(event)) : this.#loggers.step(node, distinction(event));
      if (!node) return undefined;
    }
    if (node.value || isFull) return node.value;
    this.#count += 1;
    node.value = this.#child(repeatedFields(event));
    return node.value;
  }
}

/**
 * What tells one logger from another; the other repeated fields follow from these. What is configured comes first, what
 * callers bring last: when it is full, most walks end there.
 */
const DISTINCTIONS: readonly ((event: SettledEvent) => string | number | boolean | undefined)[] = [
  ({ deployment }) => deployment,
  ({ group }) => group,
  ({ operation }) => operation,
  ({ outcome }) => outcome,
  ({ code }) => code,
  ({ finishReason }) => finishReason,
  ({ provider }) => provider,
  ({ isStreaming }) => isStreaming,
  ({ attempts }) => attempts,
  ({ answeredBy }) => answeredBy,
  ({ cache }) => cache,
  ({ usage }) => usage?.isEstimated,
  ({ experiment }) => experiment?.name,
  ({ experiment }) => experiment?.variant,
  ({ model }) => model,
  ({ principal }) => principal?.organization,
  ({ principal }) => principal?.team,
  ({ principal }) => principal?.user,
];

function repeatedFields(event: SettledEvent): Record<string, unknown> {
  const record = requestRecord(event);
  const fields = REPEATED.flatMap((name) => (record[name] === undefined ? [] : [[name, record[name]] as const]));
  return Object.fromEntries([["event", event.type], ...fields]);
}

/** The rest of a request's record. @throws whatever the `content` function throws. */
export function ownFields(event: SettledEvent, fields: RecordFields): object {
  const { usage, durationMs, ttftMs } = event;
  const own: OwnFields = {
    requestId: event.requestId,
    at: event.at,
    startedAt: Math.round(event.at - durationMs),
    tags: filled(event.tags),
    shadowOf: event.shadowOf,
    excluded: filled(event.excluded),
    dropped: filled(event.dropped),
    durationMs: tenths(durationMs),
    ttftMs: ttftMs === undefined ? undefined : tenths(ttftMs),
    promptTokens: usage?.promptTokens,
    cachedTokens: usage?.cachedTokens,
    cacheWriteTokens: usage?.cacheWriteTokens,
    completionTokens: usage?.completionTokens,
    reasoningTokens: usage?.reasoningTokens,
    costNanoUsd: usage?.costNanoUsd,
    costUsd: usage?.costUsd,
  };
  return withChosen(own, event, fields);
}
