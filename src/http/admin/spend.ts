import { routerError } from "../../errors/router-error.js";
import { ledgerToCsv, ledgerToJsonLines } from "../../ledger/export.js";
import type { Ledger, LedgerFilter, LedgerQuery, LedgerTotals } from "../../ledger/ledger.js";
import type { AnswerStream } from "../../router/call.js";
import { commonHeaders, type HttpReply } from "../reply.js";
import type { AdminScope } from "./grant.js";

/**
 * Confines a filter to what the caller reaches.
 *
 * @throws {RouterError} `permission_denied`: it asks for another organization or team; the same whether that exists.
 */
export function withinScope<F extends LedgerFilter>(filter: F, scope: AdminScope): F {
  if (scope.kind === "everything") return filter;
  const [dimension, id] =
    scope.kind === "organization"
      ? (["organization", scope.organization.id] as const)
      : (["team", scope.team.id] as const);
  const asked = filter[dimension];
  if (asked !== undefined && asked !== id) {
    throw routerError("permission_denied", {
      message: `${dimension}: your grant is for ${JSON.stringify(id)} only.`,
      param: dimension,
    });
  }
  return { ...filter, [dimension]: id };
}

export async function spendReport(ledger: Ledger, query: LedgerQuery): Promise<unknown> {
  const { rows, totals, isTruncated } = await ledger.report(query);
  return { rows: rows.map(({ by, ...sums }) => ({ by, ...inJson(sums) })), totals: inJson(totals), isTruncated };
}

/** JSON has no integers of that size: exact sums are texts. */
function inJson({ costNanoUsd, estimatedNanoUsd, ...counts }: LedgerTotals): Record<string, unknown> {
  return {
    ...counts,
    costUsd: Number(costNanoUsd) / 1_000_000_000,
    costNanoUsd: String(costNanoUsd),
    estimatedNanoUsd: String(estimatedNanoUsd),
  };
}

/** The entries as a text that is read from the ledger only as fast as the client reads it. */
export async function spendExport(ledger: Ledger, filter: LedgerFilter, format: "csv" | "jsonl"): Promise<HttpReply> {
  const isCsv = format === "csv";
  const pieces = (isCsv ? ledgerToCsv(ledger, filter) : ledgerToJsonLines(ledger, filter))[Symbol.asyncIterator]();
  // Before the status goes out: a ledger that does not answer is an error reply.
  let first: IteratorResult<string> | undefined = await pieces.next();
  const stream: AnswerStream<string> = {
    async next() {
      const { done, value } = first ?? (await pieces.next());
      first = undefined;
      return done ? undefined : [value];
    },
    cancel() {
      // Whoever left is not told what becomes of it.
      pieces.return?.().catch(() => {});
    },
  };
  const headers = commonHeaders(isCsv ? "text/csv; charset=utf-8; header=present" : "application/jsonl; charset=utf-8");
  headers.push("content-disposition", `attachment; filename="entries.${format}"`);
  return { kind: "text", headers, stream };
}
