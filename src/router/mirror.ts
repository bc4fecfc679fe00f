import { frozenCopy } from "../plugins/plain-copy.js";
import type { RequestBody } from "../protocol/operations.js";
import { GuardFacts } from "./admit.js";
import { sessionOf } from "./affinity.js";
import { reservedTokens } from "./amounts.js";
import type { CallOptions } from "./call.js";
import { emitRequestStarted } from "./events.js";
import { failureOf, GroupFailure } from "./failure.js";
import { inOurWords } from "./in-our-words.js";
import { RequestState } from "./request.js";
import { runGroup } from "./run-group.js";
import { type GroupInTurn, type GroupState, MAX_BUFFERED_BYTES, type Runtime } from "./runtime.js";
import { outcomeOf, settle } from "./settle.js";
import { type Shadow, shadowTag } from "./shadow.js";

/**
 * Copies a request that its input guards let through to the shadow of its group, by chance. The copy is a request of
 * nobody's: it begins after the caller's own call has been sent, counts against no limit and no budget but the shadow's,
 * is not copied again, and whatever becomes of it, the caller does not learn.
 *
 * Requests that plugins make are not copied: a plugin that makes one for each copy would make one for each of these.
 */
export function mirror(runtime: Runtime, request: RequestState, shadow: Shadow): void {
  // Who asks for one deployment needs something that is there, and nowhere else.
  const isPlaced = request.call.options?.require?.deployment !== undefined;
  if (request.depth > 0 || isPlaced || runtime.isDraining) return;
  const { share, group: name } = shadow.settings;
  if (share < 1 && runtime.random.next() >= share) return;
  const { snapshot } = request;
  // Checked with the options, unless a reload has given the shadow another group meanwhile.
  const resolved = snapshot.settings.registry.resolve(name);
  if (!resolved || runtime.transport.bufferedBytes > MAX_BUFFERED_BYTES || runtime.ledger?.isFull) {
    shadow.drop();
    return;
  }
  const group = asCopiesSeeIt(snapshot.groupOf(resolved.group), shadow);
  const tokens = reservedTokens(request, group);
  const taken = shadow.take(tokens, runtime.clock.now());
  if (!taken) return;
  let copy: RequestState;
  try {
    // Now: the caller's object may change while the copy is under way.
    const body = frozenCopy(request.body);
    copy = copyOf(runtime, request, body, { group, captured: resolved.captured });
  } catch {
    taken.end("rejected", false, 0, runtime.clock.now());
    return;
  }
  copy.shadow = {
    of: request.id,
    requests: {
      noteEnded(ended, outcome) {
        taken.end(outcome, ended.attempts.length > 0, ended.charged.tokens, runtime.clock.now());
        runtime.shadows.noteEnded(ended, outcome);
      },
    },
  };
  runtime.shadows.noteAccepted(copy);
  snapshot.running += 1;
  // In a turn of its own: the caller's call is made first.
  queueMicrotask(() => void runCopy(runtime, copy));
}

/** The group as copies see it: nobody waits for a slot, tries again or goes elsewhere for them. */
function asCopiesSeeIt(target: GroupState, { retryBudget }: Shadow): GroupState {
  const settings = {
    ...target.settings,
    retries: 0,
    cooldown: { ...target.settings.cooldown, panic: false },
    midStream: { ...target.settings.midStream, isContinued: false },
    shadow: undefined,
    experiment: undefined,
  };
  return { ...target, settings, retryBudget, queue: undefined, hedging: undefined, shadow: undefined };
}

function copyOf(runtime: Runtime, request: RequestState, body: RequestBody, turn: GroupInTurn): RequestState {
  const { operation, checked, call, snapshot } = request;
  const { group, captured } = turn;
  // Where the data may go holds for copies, too; whose it is does not.
  const options: CallOptions = { require: call.options?.require, sessionId: sessionOf(request) };
  const copy = new RequestState(runtime, { operation, body, options, form: "chunks" });
  copy.snapshot = snapshot;
  copy.body = body;
  copy.checked = { ...checked, model: group.name };
  copy.group = group;
  copy.captured = captured;
  copy.promptTokens = request.promptTokens;
  copy.depth = request.depth;
  copy.fallbacks = [];
  copy.tags = Object.freeze([shadowTag(request.experiment?.variant ?? request.group.name)]);
  copy.deadlineAt = copy.startedAt + group.settings.timeouts.totalMs;
  return copy;
}

/** Never rejects. */
async function runCopy(runtime: Runtime, copy: RequestState): Promise<void> {
  try {
    emitRequestStarted(runtime, copy);
    const { plugins } = copy.snapshot;
    // Guards of attempts rewrite what is sent to whomever; there is no answer for the others to see.
    if (plugins.hasBeforeAttempt) copy.guarded = plugins.guard(new GuardFacts(copy), copy.body);
    copy.throwIfOver();
    copy.visited.push(copy.group.name);
    const answer = await runGroup(runtime, copy, copy.firstTurn);
    if (answer.kind === "reply") return settle(runtime, copy, "succeeded");
    const { stream } = answer;
    stream.takeOver((outcome, error) => settle(runtime, copy, outcome, error));
    // Read to its end, for its cost; the deadlines of the group end it where it does not.
    while (await stream.next());
  } catch (thrown) {
    const error = thrown instanceof GroupFailure ? failureOf(copy, thrown.refusal) : inOurWords(copy, thrown);
    // Where a stream broke, it has settled the copy already.
    settle(runtime, copy, outcomeOf(copy, error), error);
  }
}
