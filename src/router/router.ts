import { type MetricsPage, metricsText, type Principal } from "../plugins/plugin.js";
import type { ChatChunk, ChatCompletion, ChatRequest } from "../protocol/chat.js";
import type { Completion, CompletionChunk, CompletionRequest } from "../protocol/completions.js";
import type { EmbeddingReply, EmbeddingRequest } from "../protocol/embeddings.js";
import type { ModelList } from "../protocol/models.js";
import type { Operation } from "../protocol/operations.js";
import { type BatchItem, type BatchOptions, type BatchResult, runBatch } from "./batch.js";
import {
  type BudgetHolder,
  type BudgetSource,
  type BudgetStatus,
  budgetsOf,
  budgetsOfPrincipal,
  entryBudgets,
} from "./budgets.js";
import {
  type Answer,
  answerCall,
  type Call,
  type CallOptions,
  type CallTarget,
  type HandlerContext,
  type HandlerPort,
  handlerPort,
} from "./call.js";
import { type Explanation, expectOperation, explain } from "./explain.js";
import type { InputLimits } from "./input-limits.js";
import { listModels } from "./list-models.js";
import { parseOptions } from "./options.js";
import { ReplyStream } from "./reply-stream.js";
import type { NamedRouterOptions, ServedName } from "./router-options.js";
import type { RoutingRecord } from "./routing-record.js";
import { runRequest } from "./run-request.js";
import type { Runtime } from "./runtime.js";
import { closeRuntime, openRuntime, reloadRuntime, startRuntime } from "./start.js";
import { type RouterStatus, statusOf } from "./status.js";

/** A promise that can also tell how the request was routed. */
export interface RoutedPromise<T> extends Promise<T> {
  /** The same result with the record of what was called, and why. */
  withRouting(): Promise<{ data: T; routing: RoutingRecord }>;
}

/**
 * What `create` resolves to: a stream for `stream: true`, a whole reply without it, either where the type cannot tell.
 * `model` is named because a type of optional fields only matches nothing that has none of them.
 */
type Answered<Body, Whole, Chunk> = Body extends { stream: true }
  ? ReplyStream<Chunk>
  : Body extends { model: string; stream?: false | null | undefined }
    ? Whole
    : Whole | ReplyStream<Chunk>;

export interface ChatCompletions<Model extends string> {
  /**
   * Sends a chat request to the best deployment of its group.
   *
   * @param body - OpenAI's, field for field; `stream: true` gives a {@link ReplyStream}. Fields that are not listed pass
   *   through.
   * @throws {RouterError} the catalogue of docs/errors.md. A stream rejects up to its first content, and throws from its
   *   iterator later.
   */
  create<Body extends ChatRequest<Model>>(
    body: Body,
    options?: CallOptions,
  ): RoutedPromise<Answered<Body, ChatCompletion, ChatChunk>>;
}
export interface Completions<Model extends string> {
  /** The legacy form. See {@link ChatCompletions.create}. */
  create<Body extends CompletionRequest<Model>>(
    body: Body,
    options?: CallOptions,
  ): RoutedPromise<Answered<Body, Completion, CompletionChunk>>;
}
export interface Embeddings<Model extends string> {
  /** See {@link ChatCompletions.create}. */
  create<Body extends EmbeddingRequest<Model>>(body: Body, options?: CallOptions): RoutedPromise<EmbeddingReply>;
}
export interface Models {
  /**
   * The names that callers may use: groups, aliases, and what wildcard groups with `discover` have now. Other wildcard
   * groups take more names than a list can hold.
   */
  list(options?: { readonly principal?: Principal | undefined }): Promise<ModelList>;
}

/** What `explain` takes, by operation. */
interface ExplainedBody<Model extends string> {
  "chat.completions": ChatRequest<Model>;
  completions: CompletionRequest<Model>;
  embeddings: EmbeddingRequest<Model>;
}

export interface CloseOptions {
  /** How long running requests may take to finish before they are aborted. @default 30000 */
  readonly drainMs?: number | undefined;
}

/**
 * The gateway: model groups over deployments, behind one OpenAI-shaped API.
 *
 * The type parameters are inferred: a literal configuration makes unknown names compile-time errors.
 *
 * @typeParam Group - The names of its groups.
 * @typeParam Alias - Its aliases.
 * @typeParam Reference - The names that its options refer to; of no use afterwards.
 * @throws {InvalidOptionsError} from the constructor, with every problem of the options.
 */
export class Router<
  Group extends string = string,
  Alias extends string = string extends Group ? string : never,
  Reference extends string = string,
> implements CallTarget, BudgetSource
{
  readonly chat: { readonly completions: ChatCompletions<ServedName<Group, Alias>> };
  readonly completions: Completions<ServedName<Group, Alias>>;
  readonly embeddings: Embeddings<ServedName<Group, Alias>>;
  readonly models: Models;
  /** For this package's other entry points. @internal */
  readonly [handlerPort]: HandlerPort;
  readonly #runtime: Runtime;
  #closing: Promise<void> | undefined;
  /** Loaded by the first `fetch`: who does not serve HTTP does not pay for it. */
  #fetch: Promise<InProcessFetch> | undefined;

  constructor(options: NamedRouterOptions<Group, Alias, Reference>) {
    this.chat = { completions: { create: (body, callOptions) => this.#create("chat.completions", body, callOptions) } };
    this.completions = { create: (body, callOptions) => this.#create("completions", body, callOptions) };
    this.embeddings = { create: (body, callOptions) => this.#create("embeddings", body, callOptions) };
    this.models = { list: (listOptions) => listModels(this.#runtime, listOptions?.principal) };
    this[handlerPort] = {
      directory: () => this.#runtime.snapshot.settings.directory,
      report: (subject, message) => this.#runtime.snapshot.plugins.report(subject, message),
    };
    // An SDK takes the method alone: `new OpenAI({ fetch: router.fetch })`.
    this.fetch = this.fetch.bind(this);
    this.#runtime = openRuntime(parseOptions(options));
    startRuntime(this.#runtime, this);
  }

  /** For this package's other entry points. @internal */
  [answerCall](call: Call): Promise<Answer> {
    return runRequest(this.#runtime, call);
  }

  /** For `GET /metrics`: what the first plugin that has metrics says of them. @internal */
  [metricsText](): Promise<MetricsPage> | undefined {
    return this.#runtime.snapshot.settings.plugins.find((plugin) => plugin[metricsText])?.[metricsText]?.();
  }

  /**
   * Sends many requests with bounded concurrency and yields their results, errors included, in input order or as they
   * finish. Reading slowly slows the sending; leaving the loop aborts what is under way.
   *
   * @param items - Chat bodies, or `{ id, operation, body, options }`; sync or async, and of any length.
   * @throws {RouterError} `invalid_request` for wrong options, `cancelled` when `signal` aborts.
   */
  batch(
    items: Iterable<BatchItem<ServedName<Group, Alias>>> | AsyncIterable<BatchItem<ServedName<Group, Alias>>>,
    options?: BatchOptions,
  ): AsyncGenerator<BatchResult, void, undefined> {
    const send = (operation: Operation, body: unknown, callOptions: CallOptions | undefined) =>
      runRequest(this.#runtime, { operation, body, options: callOptions, form: "chunks" });
    return runBatch({ clock: this.#runtime.clock, send }, items, options);
  }

  /**
   * Decides without sending: where a request would go now, with the numbers that speak for and against each deployment.
   * Nothing changes by it, and no chance is drawn.
   *
   * @param options - `operation`: of a request that is no chat.
   * @throws {RouterError} the request would be refused.
   */
  async explain<Kind extends Operation = "chat.completions">(
    body: ExplainedBody<ServedName<Group, Alias>>[Kind],
    options?: CallOptions & { readonly operation?: Kind | undefined },
  ): Promise<Explanation> {
    const { operation = "chat.completions", ...callOptions } = options ?? {};
    expectOperation(operation);
    return explain(this.#runtime, { operation, body, options: callOptions, form: "chunks" });
  }

  /** What is configured, what runs, and how each deployment does. */
  status(): RouterStatus {
    return statusOf(this.#runtime);
  }

  /**
   * The budgets that the directory states for a principal, from the outermost level to the innermost, as they are now.
   *
   * @param options - `model`: also those that its levels state for this model alone.
   * @throws {RouterError} `invalid_api_key`: a level is unknown, blocked or expired; `accounting_unavailable`: a store
   *   does not answer.
   */
  budgets(
    principal: Principal,
    options?: { readonly model?: ServedName<Group, Alias> | undefined },
  ): Promise<readonly BudgetStatus[]> {
    return budgetsOfPrincipal(this.#runtime, principal, options?.model);
  }

  /** For this package's other entry points. @internal */
  [entryBudgets](holders: readonly BudgetHolder[], tenant: string): Promise<readonly BudgetStatus[]> {
    return budgetsOf(this.#runtime, holders, tenant);
  }

  /** The bounds of bodies that are in force: what HTTP handlers go by, unless their own options say otherwise. */
  get inputLimits(): InputLimits {
    return this.#runtime.snapshot.settings.inputLimits;
  }

  /**
   * Answers an HTTP request in process, as a server under `/v1` would: for SDKs that take a `fetch`.
   *
   * @example new OpenAI({ apiKey: "in-process", baseURL: "http://switchyard/v1", fetch: router.fetch })
   */
  async fetch(input: string | URL | Request, init?: RequestInit, context?: HandlerContext): Promise<Response> {
    this.#fetch ??= import("../http/handler.js").then(({ inProcessFetch }) => inProcessFetch(this));
    const answer = await this.#fetch;
    return answer(input, init, context);
  }

  /**
   * Replaces the configuration as a whole: requests under way finish on the old one, and deployments that stay the same
   * keep what was learned about them.
   *
   * @throws {InvalidOptionsError} the options are wrong; nothing is changed.
   */
  reload<
    NewGroup extends string,
    NewAlias extends string = string extends NewGroup ? string : never,
    NewReference extends string = string,
  >(options: NamedRouterOptions<NewGroup, NewAlias, NewReference>): void {
    reloadRuntime(this.#runtime, parseOptions(options), this);
  }

  /**
   * Closes: new requests are refused with `draining`, running ones may finish within `drainMs` and are then aborted,
   * and every connection is closed. Further calls wait for the first.
   */
  close(options?: CloseOptions): Promise<void> {
    const closing = this.#closing ?? closeRuntime(this.#runtime, options?.drainMs);
    this.#closing = closing;
    return closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #create<T>(operation: Operation, body: unknown, options: CallOptions | undefined): RoutedPromise<T> {
    const answer = runRequest(this.#runtime, { operation, body, options, form: "chunks" });
    // The surfaces' types tie the operation to what it answers.
    const data = answer.then(dataOf) as RoutedPromise<T>;
    // Through a constant: a function that is assigned to a property right away is made in old space by Node 20.
    const withRouting = async () => ({ data: await data, routing: (await answer).routing });
    data.withRouting = withRouting;
    return data;
  }
}

/** A `fetch` that ends here. */
type InProcessFetch = (
  input: string | URL | Request,
  init?: RequestInit,
  context?: HandlerContext,
) => Promise<Response>;

function dataOf(answer: Answer): unknown {
  return answer.kind === "reply" ? answer.reply : new ReplyStream(answer.stream);
}
