import { routerError } from "../errors/router-error.js";
import type { Operation, RequestBody } from "../protocol/operations.js";
import { frozenCopy, NotPlainError } from "./plain-copy.js";
import type {
  CacheControl,
  CacheStatus,
  DeploymentRequirement,
  PluginAttempt,
  PluginRequest,
  Principal,
} from "./plugin.js";

/** What the router knows of a request when the first guard sees it. */
export interface RequestFacts {
  readonly id: string;
  readonly operation: Operation;
  readonly isStreaming: boolean;
  readonly model: string;
  readonly group: string;
  readonly principal: Principal | undefined;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly depth: number;
  readonly cache?: CacheControl | undefined;
  /** Frozen, as the next; may be getters. */
  readonly require?: DeploymentRequirement | undefined;
  readonly fallbacks?: readonly string[] | undefined;
  /** May be a getter, too. */
  readonly answerScope?: string | undefined;
  /** May be a getter: it is read when a plugin reads it, or when a guard returns a promise. */
  readonly signal: AbortSignal;
  /** Milliseconds until the request's deadline, and what ends the request there; without them it has none. */
  remainingMs?(): number;
  passDeadline?(): void;
}

/** A patch that has been checked: the body's fields are frozen copies of ours. */
export interface CheckedPatch {
  readonly body: ReadonlyMap<string, unknown> | undefined;
  readonly tags: readonly string[] | undefined;
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly cache?: "miss" | undefined;
}

/** A patch of an attempt that has been checked. */
export interface CheckedAttemptPatch {
  readonly body: ReadonlyMap<string, unknown> | undefined;
  readonly headers: ReadonlyMap<string, string> | undefined;
}

/** The body as the caller gave it, until somebody looks; from then on a private frozen copy, which is also what is sent. */
class GuardedBody {
  #source: RequestBody;
  #isCopied: boolean;

  constructor(source: RequestBody, isCopied: boolean) {
    this.#source = source;
    this.#isCopied = isCopied;
  }

  /** What is to be sent: the very object that guards have seen, so that nothing can change in between. */
  get current(): RequestBody {
    return this.#source;
  }

  /** @throws {RouterError} `invalid_request`: the body is nested too deeply to be copied. */
  get frozen(): RequestBody {
    if (this.#isCopied) return this.#source;
    try {
      this.#source = frozenCopy(this.#source);
    } catch (error) {
      if (!(error instanceof NotPlainError)) throw error;
      throw routerError("invalid_request", { message: `The request body contains ${error.message}.` });
    }
    this.#isCopied = true;
    return this.#source;
  }

  with(fields: ReadonlyMap<string, unknown>): GuardedBody {
    // The fields of a body by name; their values are unknown here.
    const body = { ...this.frozen } as unknown as Record<string, unknown>;
    for (const [name, value] of fields) {
      if (value === undefined) delete body[name];
      // Assigning would set the prototype instead of a field (S29).
      else Object.defineProperty(body, name, { value, enumerable: true, configurable: true, writable: true });
    }
    return new GuardedBody(Object.freeze(body) as unknown as RequestBody, true); // as above
  }
}

/**
 * One request on its way through the guards. The router holds it; plugins only ever get its {@link view}.
 */
export class GuardedRequest {
  readonly #facts: RequestFacts;
  readonly #principal: Principal | undefined;
  readonly #identity: object = Object.freeze({});
  #tags: readonly string[];
  #metadata: Readonly<Record<string, string>>;
  #body: GuardedBody;
  #view: PluginRequest | undefined;
  #isPatched = false;
  #cache: CacheStatus | undefined;
  /** Guards up to here, in the order on the way in, see what comes out. All do, unless one answered early. */
  #reach = Number.POSITIVE_INFINITY;

  /** Made by `PluginRunner.guard`. The caller's objects are copied, not frozen. */
  constructor(facts: RequestFacts, body: RequestBody) {
    this.#facts = facts;
    this.#principal = facts.principal && frozenPrincipal(facts.principal);
    this.#tags = Object.isFrozen(facts.tags) ? facts.tags : Object.freeze([...facts.tags]);
    this.#metadata = Object.isFrozen(facts.metadata) ? facts.metadata : Object.freeze({ ...facts.metadata });
    this.#body = new GuardedBody(body, false);
  }

  get id(): string {
    return this.#facts.id;
  }

  get operation(): Operation {
    return this.#facts.operation;
  }

  get isStreaming(): boolean {
    return this.#facts.isStreaming;
  }

  get signal(): AbortSignal {
    return this.#facts.signal;
  }

  remainingMs(): number {
    return this.#facts.remainingMs?.() ?? Number.POSITIVE_INFINITY;
  }

  passDeadline(): void {
    this.#facts.passDeadline?.();
  }

  /** With what guards added; frozen. */
  get tags(): readonly string[] {
    return this.#tags;
  }

  /** With what guards added; frozen. */
  get metadata(): Readonly<Record<string, string>> {
    return this.#metadata;
  }

  /**
   * What is to be sent, after all patches. The caller's own object if no guard has looked at it; else frozen.
   */
  get body(): RequestBody {
    return this.#body.current;
  }

  /** A guard has changed fields of the body: what was checked of it must be checked again. */
  get isPatched(): boolean {
    return this.#isPatched;
  }

  /** What caches say of it. */
  get cache(): CacheStatus | undefined {
    return this.#cache;
  }

  /** What plugins see now. */
  get view(): PluginRequest {
    this.#view ??= this.#viewOn(this.#body);
    return this.#view;
  }

  get reach(): number {
    return this.#reach;
  }

  /** The guard at this place answered: those behind it have no part in this request. For `PluginRunner`. */
  answeredAt(place: number): void {
    this.#reach = place;
  }

  /** For `PluginRunner`. */
  apply({ body, tags, metadata, cache }: CheckedPatch): void {
    this.#cache = cache ?? this.#cache;
    if (body) {
      this.#body = this.#body.with(body);
      this.#isPatched = true;
    }
    if (tags) this.#tags = Object.freeze([...new Set([...this.#tags, ...tags])]);
    if (metadata) this.#metadata = Object.freeze({ ...this.#metadata, ...metadata });
    this.#view = undefined;
  }

  /** For `PluginRunner`: an attempt that would send `body`. */
  forAttempt(facts: Omit<PluginAttempt, "request">, body: RequestBody): GuardedAttempt {
    const guarded = body === this.body ? this.#body : new GuardedBody(body, false);
    return new GuardedAttempt(facts, guarded, (of) => this.#viewOn(of));
  }

  #viewOn(body: GuardedBody): PluginRequest {
    return new RequestView(this.#facts, body, this.#identity, this.#principal, this.#tags, this.#metadata);
  }
}

/**
 * What plugins see of a request. A class, because literals with a getter get a hidden class each: measured, a guard that does
 * nothing cost more than the rest of the request.
 */
class RequestView implements PluginRequest {
  readonly id: string;
  readonly identity: object;
  readonly operation: Operation;
  readonly isStreaming: boolean;
  readonly model: string;
  readonly group: string;
  readonly principal: Principal | undefined;
  readonly tags: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly depth: number;
  readonly #facts: RequestFacts;
  readonly #body: GuardedBody;

  constructor(
    facts: RequestFacts,
    body: GuardedBody,
    identity: object,
    principal: Principal | undefined,
    tags: readonly string[],
    metadata: Readonly<Record<string, string>>,
  ) {
    this.id = facts.id;
    this.identity = identity;
    this.operation = facts.operation;
    this.isStreaming = facts.isStreaming;
    this.model = facts.model;
    this.group = facts.group;
    this.principal = principal;
    this.tags = tags;
    this.metadata = metadata;
    this.depth = facts.depth;
    this.#facts = facts;
    this.#body = body;
    Object.freeze(this);
  }

  // These cost something, and most plugins read none of them.
  get cache(): CacheControl | undefined {
    return this.#facts.cache;
  }
  get require(): DeploymentRequirement | undefined {
    return this.#facts.require;
  }
  get fallbacks(): readonly string[] | undefined {
    return this.#facts.fallbacks;
  }
  get answerScope(): string | undefined {
    return this.#facts.answerScope;
  }
  get body(): RequestBody {
    return this.#body.frozen;
  }
  get signal(): AbortSignal {
    return this.#facts.signal;
  }
}

/** One attempt on its way through the guards. */
class GuardedAttempt {
  readonly #facts: Omit<PluginAttempt, "request">;
  readonly #viewOn: (body: GuardedBody) => PluginRequest;
  #body: GuardedBody;
  #view: PluginAttempt | undefined;

  constructor(facts: Omit<PluginAttempt, "request">, body: GuardedBody, viewOn: (body: GuardedBody) => PluginRequest) {
    this.#facts = facts;
    this.#body = body;
    this.#viewOn = viewOn;
  }

  /** What is to be sent. */
  get body(): RequestBody {
    return this.#body.current;
  }

  get view(): PluginAttempt {
    if (!this.#view) {
      const { number, resumed, group, deployment, provider, model } = this.#facts;
      const request = this.#viewOn(this.#body);
      this.#view = Object.freeze({ request, number, resumed, group, deployment, provider, model });
    }
    return this.#view;
  }

  apply(fields: ReadonlyMap<string, unknown>): void {
    this.#body = this.#body.with(fields);
    this.#view = undefined;
  }
}

/** The levels that plugins may see, and nothing else that the caller's object may hold (S19). */
export function frozenPrincipal({ key, user, team, organization }: Principal): Principal {
  return Object.freeze({
    ...(key === undefined ? undefined : { key }),
    ...(user === undefined ? undefined : { user }),
    ...(team === undefined ? undefined : { team }),
    ...(organization === undefined ? undefined : { organization }),
  });
}
