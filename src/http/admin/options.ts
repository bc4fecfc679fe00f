import { z } from "zod";
import type { Directory } from "../../access/directory.js";
import { InvalidOptionsError } from "../../errors/router-error.js";
import { type Clock, systemClock } from "../../internal/clock.js";
import type { Ledger } from "../../ledger/ledger.js";
import { type BudgetSource, entryBudgets } from "../../router/budgets.js";
import { OptionIssues } from "../../router/option-issues.js";
import type { AuthenticateRequest } from "../authenticate.js";
import { handlerSchema } from "../options.js";
import type { AdminGrant, AdminRole } from "./grant.js";
import type { AdminOperationName } from "./operations.js";

/** What `authorize` sees of a request: never its body. `route` is the operation: `keys.create`. */
export type AuthorizeRequest = AuthenticateRequest<AdminOperationName>;

/** A change that was made, or that was refused. No secret is in it. */
export interface AdminAudit {
  /** Unix milliseconds. */
  readonly at: number;
  /** As the grant names it. */
  readonly actor: string;
  readonly role: AdminRole;
  readonly operation: AdminOperationName;
  /** Of the entry; `undefined`: it was not created. */
  readonly id: string | undefined;
  /** What the body stated, as far as it could be read; `null` removes a field. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly outcome: "done" | "refused";
  /** Why it was refused. */
  readonly code: string | undefined;
}

export interface AdminHandlerOptions {
  readonly directory: Directory;
  /** Says what a caller may do, or throws to refuse (401, or the code of a `RouterError`). */
  readonly authorize: (request: AuthorizeRequest) => AdminGrant | Promise<AdminGrant>;
  /** How long `authorize` may take, in milliseconds, 1–60000; then the caller is refused (401). @default 5000 */
  readonly authorizeTimeoutMs?: number | undefined;
  /** Reports what was spent; without it there are no such routes. */
  readonly ledger?: Ledger | undefined;
  /** A router with the same directory: tells what budgets have spent; without it there are no such routes. */
  readonly router?: BudgetSource | undefined;
  /** Where the routes begin. Empty, or segments that begin with `/`. @default "/admin" */
  readonly basePath?: string | undefined;
  /** Bytes of a request body, 1–1073741824 (413). @default 1048576 */
  readonly maxBodyBytes?: number | undefined;
  /** Gets every change that was made or refused. What it returns or throws is ignored. */
  readonly onAudit?: ((audit: AdminAudit) => unknown) | undefined;
  /** A client that reads nothing for so long is taken to have left, in milliseconds, 1–3600000. @default 60000 */
  readonly stallTimeoutMs?: number | undefined;
  /** Time, for tests. @default the machine's */
  readonly clock?: Clock | undefined;
}

export interface AdminSettings {
  readonly directory: Directory;
  readonly authorize: AdminHandlerOptions["authorize"];
  readonly authorizeTimeoutMs: number;
  readonly ledger: Ledger | undefined;
  readonly router: BudgetSource | undefined;
  readonly basePath: string;
  readonly maxBodyBytes: number;
  readonly onAudit: AdminHandlerOptions["onAudit"];
  readonly stallTimeoutMs: number;
  readonly clock: Clock;
}

const isFunction = (value: unknown): boolean => typeof value === "function";
const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
const { basePath, maxBodyBytes, stallTimeoutMs, clock } = handlerSchema.shape;

const adminSchema = z.strictObject({
  directory: z.custom<Directory>(
    (value) =>
      isObject(value) &&
      ["organizations", "teams", "users", "keys"].every((name) => isObject(Reflect.get(value, name))),
    "expected a directory, as createDirectory makes it",
  ),
  authorize: z.custom<AdminHandlerOptions["authorize"]>(isFunction, "expected a function"),
  authorizeTimeoutMs: z.int().min(1).max(60_000).default(5_000),
  ledger: z
    .custom<Ledger>((value) => isObject(value) && isFunction(Reflect.get(value, "report")), "expected a ledger")
    .optional(),
  router: z
    .custom<BudgetSource>(
      (value) => isObject(value) && isFunction(Reflect.get(value, entryBudgets)),
      "expected a Router",
    )
    .optional(),
  basePath: basePath.unwrap().default("/admin"),
  maxBodyBytes: maxBodyBytes.unwrap().default(1_048_576),
  onAudit: z.custom<(audit: AdminAudit) => unknown>(isFunction, "expected a function").optional(),
  stallTimeoutMs,
  clock: clock.unwrap().optional(),
});

/** @throws {InvalidOptionsError} with every problem at once. */
export function parseAdminOptions(options: AdminHandlerOptions): AdminSettings {
  const issues = new OptionIssues(new Map());
  if (!isObject(options) || Array.isArray(options)) {
    issues.add([], "expected an object");
    throw new InvalidOptionsError(issues.list);
  }
  const parsed = issues.parseFields(adminSchema, { ...options }, []);
  if (issues.list.length > 0) throw new InvalidOptionsError(issues.list);
  return {
    // Nothing is wrong, so that every field that is required, or has a default, was parsed.
    directory: parsed.directory!,
    authorize: parsed.authorize!,
    authorizeTimeoutMs: parsed.authorizeTimeoutMs!,
    ledger: parsed.ledger,
    router: parsed.router,
    basePath: parsed.basePath!,
    maxBodyBytes: parsed.maxBodyBytes!,
    onAudit: parsed.onAudit,
    stallTimeoutMs: parsed.stallTimeoutMs!,
    clock: parsed.clock ?? systemClock,
  };
}
