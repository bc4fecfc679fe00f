import { admit, readBody } from "./admit.js";
import type { Answer, Call } from "./call.js";
import { RequestCapture } from "./content.js";
import { answerEarly, deliver } from "./deliver.js";
import { emitFallback } from "./events.js";
import { failureOf, GroupFailure } from "./failure.js";
import { inOurWords } from "./in-our-words.js";
import { mirror } from "./mirror.js";
import { pinRequest } from "./pin-request.js";
import { RequestState } from "./request.js";
import { runGroup } from "./run-group.js";
import type { GroupInTurn, Runtime } from "./runtime.js";
import { outcomeOf, settle } from "./settle.js";
import { withinRequest } from "./within-request.js";

/**
 * One request, from its arrival to its answer: admit → guards → for each group of the fallback chain, attempts → deliver.
 * Whatever was reserved is settled or released exactly once; a stream does so when it ends.
 *
 * @throws {RouterError} the request ended without an answer; it is settled then, or once the answer that nobody wants any
 *   more has been read to its end.
 */
export async function runRequest(runtime: Runtime, call: Call): Promise<Answer> {
  const request = new RequestState(runtime, call);
  runtime.requests.noteAccepted(request);
  request.snapshot.running += 1;
  try {
    const admission = admit(runtime, request);
    if (admission) await admission;

    const { guarded } = request;
    if (guarded) {
      const asked = request.snapshot.plugins.beforeRequest(guarded);
      const early = asked instanceof Promise ? await withinRequest(runtime, request, asked) : asked;
      if (request.snapshot.plugins.wantsContent) request.content = new RequestCapture(guarded);
      request.cache = early ? early.cache : guarded.cache;
      if (early) {
        request.answeredBy = early.plugin;
        return await answerEarly(runtime, request, guarded, early.reply);
      }
      if (guarded.isPatched) {
        readBody(request, guarded.body);
        pinRequest(runtime, request);
      }
      request.body = guarded.body;
      request.throwIfOver();
    }
    // After the guards, so that nobody gets what they took out; what a cache answers is not copied.
    if (request.group.shadow && !request.isPinned) mirror(runtime, request, request.group.shadow);

    let turn = request.firstTurn;
    for (;;) {
      request.visited.push(turn.group.name);
      try {
        return await deliver(runtime, request, await runGroup(runtime, request, turn));
      } catch (thrown) {
        if (!(thrown instanceof GroupFailure)) throw thrown;
        turn = nextTurn(runtime, request, turn, thrown);
      }
    }
  } catch (thrown) {
    const error = inOurWords(request, thrown);
    if (!request.endsLater) settle(runtime, request, outcomeOf(request, error), error);
    throw error;
  }
}

/** The next group of the fallback chain. @throws {RouterError} there is none: what the caller reads. */
function nextTurn(runtime: Runtime, request: RequestState, turn: GroupInTurn, failure: GroupFailure): GroupInTurn {
  request.refusal ??= failure.refusal;
  const error = failureOf(request, request.refusal);
  if (!failure.chain) throw error;
  request.throwIfOver();
  const next = request.nextTurn(turn, failure.chain);
  if (!next) throw error;
  // Known windows are compared with the prompt anyway; the demand for a larger one was made of the other group.
  request.needsLargerWindowThan = undefined;
  emitFallback(runtime, request, turn.group, next.group, failure.chain, error.code);
  return next;
}
