import { RouterError } from "../errors/router-error.js";
import { type Deferred, deferred } from "../internal/deferred.js";
import type { GroupHedging, HedgeKind } from "../routing/hedging/group-hedging.js";
import { AttemptRace } from "./attempt-race.js";
import { chooseForHedge, giveBack, hedgeChoiceOf } from "./choose.js";
import { coverHedge } from "./cover.js";
import { noteFailure } from "./failure.js";
import { type AttemptFailure, type Lease, MAX_ATTEMPTS, type RequestState } from "./request.js";
import { type AttemptAnswer, runAttempt } from "./run-attempt.js";
import type { GroupInTurn, Runtime } from "./runtime.js";

/** How an attempt has ended, as a value: nobody may be waiting for it. */
type Ended = { readonly answer: AttemptAnswer } | { readonly thrown: unknown };

/** What a request may have of hedging in a group whose turn it is; `undefined`: nothing. */
export function hedgeFor(runtime: Runtime, request: RequestState, turn: GroupInTurn): Hedge | undefined {
  const { hedging } = turn.group;
  if (!hedging) return undefined;
  hedging.recordRequest(runtime.clock.now());
  // Nobody waits for the answer to a copy.
  return request.isPinned || request.shadow ? undefined : new Hedge(runtime, request, turn, hedging);
}

/**
 * An attempt that takes longer to begin than nearly all before it gets a second one beside it, on a deployment that the
 * request has not tried; once in a group. The first content serves the request, and the other attempt ends in the same
 * turn (routing §7).
 */
export class Hedge {
  #isSpent = false;

  constructor(
    private readonly runtime: Runtime,
    private readonly request: RequestState,
    private readonly turn: GroupInTurn,
    private readonly hedging: GroupHedging,
  ) {}

  /**
   * One attempt, and perhaps a hedge.
   *
   * @throws {AttemptFailure} whatever was sent failed; the group decides what follows.
   * @throws {RouterError} the request is over.
   */
  run(lease: Lease): Promise<AttemptAnswer> {
    const delayMs = this.#delayFor(lease);
    return delayMs === undefined ? runAttempt(this.runtime, this.request, lease) : this.#runRace(lease, delayMs);
  }

  /** @returns `undefined`: the attempt gets no hedge. */
  #delayFor({ flight }: Lease): number | undefined {
    const { request, hedging } = this;
    // A probe is to say what it finds. Of the attempts that are left, one is its own.
    if (this.#isSpent || flight.isProbe || request.attempts.length + 2 > MAX_ATTEMPTS) return undefined;
    const delayMs = hedging.delayMs(kindOf(request));
    return delayMs !== undefined && delayMs < request.remainingMs() ? delayMs : undefined;
  }

  async #runRace(lease: Lease, delayMs: number): Promise<AttemptAnswer> {
    const { runtime, request } = this;
    const race = new AttemptRace();
    const due: Deferred<undefined> = deferred();
    const timer = runtime.clock.schedule(delayMs, () => due.resolve(undefined));
    const first = ended(runAttempt(runtime, request, lease, race));
    const early = await Promise.race([first, due.promise]);
    timer.cancel();
    if (early) return answerOf(early);

    const restoreChoice = rememberChoice(request);
    const hedge = this.#send(race);
    await Promise.race([first, hedge]);
    if (!race.winner) {
      if (race.first.isEnded) await this.#leaveToHedge(race, first, hedge);
      else await this.#leaveToFirst(first, hedge);
    }
    // Whoever is left without a winner has thrown.
    const isFirst = race.winner === race.first;
    if (race.hedge?.isBegun && (!isFirst || race.hedge.isLost)) this.hedging.recordEnd(!isFirst);
    if (isFirst) restoreChoice();
    return answerOf((await (isFirst ? first : hedge)) as Ended); // the winner was sent
  }

  /** Sends the hedge, if it may be sent. @returns how it ended; `undefined`: it was not sent. */
  async #send(race: AttemptRace): Promise<Ended | undefined> {
    const { runtime, request, turn, hedging } = this;
    // What comes before the call may take its time: another attempt would wait for the same.
    if (!race.first.isBegun || !race.isOpen) return undefined;
    if (!turn.group.pool.hasUntried(hedgeChoiceOf(runtime, request, turn))) return undefined;
    if (!hedging.take(runtime.clock.now(), runtime.random)) return undefined;
    this.#isSpent = true;
    const lease = await this.#reserve(race);
    if (lease && race.isOpen) {
      const end = await ended(runAttempt(runtime, request, lease, race));
      // It waited for a guard, and ended there: nothing was sent.
      if (!race.hedge?.isBegun) hedging.giveBack(runtime.clock.now());
      return end;
    }
    if (lease) giveBack(request, lease);
    hedging.giveBack(runtime.clock.now());
    return undefined;
  }

  async #reserve(race: AttemptRace): Promise<Lease | undefined> {
    const { runtime, request, turn } = this;
    try {
      const covering = coverHedge(runtime, request, turn);
      const isCovered = covering instanceof Promise ? await covering : covering;
      return isCovered && race.isOpen ? await chooseForHedge(runtime, request, turn) : undefined;
    } catch {
      // A store that breaks, or a request that is over: the first attempt goes on, or says so itself.
      return undefined;
    }
  }

  /** The first attempt has failed. @throws what follows from that, unless the hedge answers. */
  async #leaveToHedge(race: AttemptRace, first: Promise<Ended>, hedge: Promise<Ended | undefined>): Promise<void> {
    const failure = failureOf(await first);
    if (RouterError.isRouterError(failure) || !race.hedge) {
      race.close();
      throw failure;
    }
    noteFailure(this.request, failure);
    const end = (await hedge) as Ended; // it was sent
    if (race.winner) return;
    const last = failureOf(end);
    if (RouterError.isRouterError(last)) throw last;
    this.hedging.recordEnd(false);
    if (!isFinal(failure)) throw last;
    noteFailure(this.request, last);
    throw failure;
  }

  /** The hedge has failed, or was not sent: the first attempt goes on alone. @throws what follows from its failure. */
  async #leaveToFirst(first: Promise<Ended>, hedge: Promise<Ended | undefined>): Promise<void> {
    const end = await hedge;
    const failure = end && failureOf(end);
    if (failure && !RouterError.isRouterError(failure)) {
      this.hedging.recordEnd(false);
      noteFailure(this.request, failure);
    }
    answerOf(await first);
  }
}

function kindOf({ operation, isStreaming }: RequestState): HedgeKind {
  if (operation === "embeddings") return "embeddings";
  return isStreaming ? "stream" : "reply";
}

function ended(attempt: Promise<AttemptAnswer>): Promise<Ended> {
  return attempt.then(
    (answer) => ({ answer }),
    (thrown: unknown) => ({ thrown }),
  );
}

function answerOf(end: Ended): AttemptAnswer {
  if ("answer" in end) return end.answer;
  throw end.thrown;
}

/** Of an attempt that has not won. */
function failureOf(end: Ended): AttemptFailure | RouterError {
  if ("answer" in end) throw new Error("an attempt that has an answer has won");
  // `runAttempt` throws nothing else.
  return end.thrown as AttemptFailure | RouterError;
}

/** No other deployment would mend it, and neither would the same one. */
function isFinal({ verdict, isCredentialStale }: AttemptFailure): boolean {
  return verdict.another === false && !verdict.sameAgain && !isCredentialStale;
}

/** The record of a request shows the choice of the deployment that served it. @returns takes the hedge's choice back. */
function rememberChoice(request: RequestState): () => void {
  const { choice, excluded, candidates } = request;
  return () => {
    request.choice = choice;
    request.excluded = excluded;
    request.candidates = candidates;
  };
}
