import { routerError } from "../errors/router-error.js";
import { bookableEntry } from "../ledger/bookable-entry.js";
import type {
  Ledger,
  LedgerDimension,
  LedgerEntry,
  LedgerFilter,
  LedgerReport,
  LedgerRow,
  LedgerTotals,
} from "../ledger/ledger.js";
import { checkedCount, checkedFilter, checkedQuery, checkedRequestIds, FILTER_FIELDS } from "../ledger/query.js";
import type { Database } from "./database.js";

/** One append is one statement: so many entries at most. */
const MAX_APPENDED = 10_000;
/** Entries that are read at once. */
const PAGE = 1_000;
const REPORT_TIMEOUT_MS = 60_000;

/** Field of an entry → its column and type. The only names that ever enter a statement. */
const COLUMNS = {
  requestId: ["request_id", "text"],
  attempt: ["attempt", "integer"],
  kind: ["kind", "text"],
  at: ["at", "bigint"],
  durationMs: ["duration_ms", "bigint"],
  ttftMs: ["ttft_ms", "bigint"],
  operation: ["operation", "text"],
  model: ["model", "text"],
  group: ["model_group", "text"],
  deployment: ["deployment", "text"],
  provider: ["provider", "text"],
  upstreamModel: ["upstream_model", "text"],
  key: ["key_id", "text"],
  user: ["user_id", "text"],
  team: ["team_id", "text"],
  organization: ["organization_id", "text"],
  tags: ["tags", "text[]"],
  outcome: ["outcome", "text"],
  promptTokens: ["prompt_tokens", "bigint"],
  cachedTokens: ["cached_tokens", "bigint"],
  cacheWriteTokens: ["cache_write_tokens", "bigint"],
  completionTokens: ["completion_tokens", "bigint"],
  reasoningTokens: ["reasoning_tokens", "bigint"],
  costNanoUsd: ["cost_nano_usd", "bigint"],
  isEstimated: ["is_estimated", "boolean"],
  flags: ["flags", "text[]"],
} as const satisfies Record<keyof LedgerEntry, readonly [column: string, type: string]>;

const FIELDS = Object.entries(COLUMNS).map(([field, [column, type]]) => ({ field, column, type }));
const COLUMN_LIST = FIELDS.map(({ column }) => column).join(", ");
const RECORD = FIELDS.map(({ field, type }) => `"${field}" ${type}`).join(", ");
const RECORD_LIST = FIELDS.map(({ field }) => `e."${field}"`).join(", ");
/** An entry as JSON, in which its integers are exact: they are safe ones. */
const ENTRY = `json_build_object(${FIELDS.map(({ field, column }) => `'${field}', ${column}`).join(", ")})`;
const ORDER = "at, request_id, attempt, kind";

/** A dimension, as text. Days and hours are those of UTC. */
const DIMENSIONS: Readonly<Record<LedgerDimension, string>> = {
  day: `to_char(to_timestamp(at / 86400000 * 86400) at time zone 'UTC', 'YYYY-MM-DD') collate "C"`,
  hour: `to_char(to_timestamp(at / 3600000 * 3600) at time zone 'UTC', 'YYYY-MM-DD"T"HH24":00Z"') collate "C"`,
  tag: "tag",
  key: "key_id",
  user: "user_id",
  team: "team_id",
  organization: "organization_id",
  model: "model",
  group: "model_group",
  deployment: "deployment",
  provider: "provider",
};

/** Sums leave as text: they may pass 2^53, where JSON's readers round. */
const TOTALS = `json_build_object(
  'requests', count(distinct request_id),
  'attempts', count(*) filter (where kind <> 'correction'),
  'promptTokens', coalesce(sum(prompt_tokens), 0)::text,
  'cachedTokens', coalesce(sum(cached_tokens), 0)::text,
  'cacheWriteTokens', coalesce(sum(cache_write_tokens), 0)::text,
  'completionTokens', coalesce(sum(completion_tokens), 0)::text,
  'reasoningTokens', coalesce(sum(reasoning_tokens), 0)::text,
  'costNanoUsd', coalesce(sum(cost_nano_usd), 0)::text,
  'estimatedNanoUsd', coalesce(sum(cost_nano_usd) filter (where is_estimated), 0)::text,
  'unpricedAttempts', count(*) filter (where cost_nano_usd is null and kind <> 'correction')
)`;

/** {@link TOTALS}, as it is read. */
type TotalsText = Record<Exclude<keyof LedgerTotals, "requests" | "attempts" | "unpricedAttempts">, string> &
  Record<"requests" | "attempts" | "unpricedAttempts", number>;

export function postgresLedger(database: Database): Ledger {
  const { schema } = database;
  const table = `${schema}.ledger`;

  const readEntries = async (condition: string, values: readonly (string | number | readonly string[])[]) => {
    const text = await database.ask(
      `select coalesce(json_agg(${ENTRY}), '[]')::text from (select * from ${table} where ${condition}) as selected`,
      values,
    );
    return parsed<LedgerEntry[]>(text).map(readEntry);
  };

  return {
    name: "postgres",

    async append(entries) {
      if (entries.length === 0) return;
      if (entries.length > MAX_APPENDED) {
        throw routerError("invalid_request", { message: `Expected at most ${MAX_APPENDED} ledger entries at once.` });
      }
      const booked = JSON.stringify(entries.map(bookableEntry));
      // In the order of the primary key: two appends of the same entries would otherwise wait for each other.
      await database.ask(
        `with batch as materialized (select nextval('${schema}.ledger_batches') as number)
        insert into ${table} (batch, place, ${COLUMN_LIST})
        select batch.number, listed.place, ${RECORD_LIST}
        from jsonb_array_elements($1::text::jsonb) with ordinality as listed (entry, place),
          jsonb_to_record(listed.entry) as e (${RECORD}), batch
        order by e."requestId" collate "C", e.attempt, e.kind collate "C", listed.place
        on conflict do nothing`,
        [booked],
      );
    },

    async report(query) {
      const { filter, by, limit } = checkedQuery(query);
      const { condition, values } = conditionOf(filter);
      const dimensions = by.map((dimension, index) => ({ name: `d${index}`, text: DIMENSIONS[dimension] }));
      const names = dimensions.map(({ name }) => name);
      const tags = by.includes("tag") ? "left join lateral unnest(tags) as each_tag (tag) on true" : "";
      // Both in one statement, so that rows and totals are of the same moment and their difference is 0 (R15).
      const rows =
        by.length === 0
          ? "'[]'::json"
          : `(select coalesce(json_agg(json_build_array(json_build_array(${names}), totals) order by ${names.map((name) => `${name} nulls last`)}), '[]') from (
              select ${dimensions.map(({ name, text }) => `${text} as ${name}`)}, ${TOTALS} as totals
              from ${table} ${tags} where ${condition}
              group by ${names} order by ${names.map((name) => `${name} nulls last`)} limit ${limit + 1}
            ) as grouped)`;
      const text = await database.transaction(REPORT_TIMEOUT_MS, (ask) =>
        ask(
          `select json_build_object('totals', (select ${TOTALS} from ${table} where ${condition}), 'rows', ${rows})::text`,
          values,
        ),
      );
      const read = parsed<{ totals: TotalsText; rows: [(string | null)[], TotalsText][] }>(text);
      return {
        rows: read.rows.slice(0, limit).map(([found, totals]): LedgerRow => {
          const named = Object.fromEntries(by.map((dimension, index) => [dimension, found[index] ?? null]));
          return { by: named, ...readTotals(totals) };
        }),
        totals: readTotals(read.totals),
        isTruncated: read.rows.length > limit,
      } satisfies LedgerReport;
    },

    entries(filter) {
      const { condition, values } = conditionOf(checkedFilter(filter));
      return (async function* selected() {
        let last: LedgerEntry | undefined;
        for (;;) {
          const after = values.length;
          const rest =
            last === undefined
              ? ""
              : ` and (${ORDER}) > ($${after + 1}::bigint, $${after + 2}::text, $${after + 3}::integer, $${after + 4}::text)`;
          const page: LedgerEntry[] = await readEntries(
            `${condition}${rest} order by ${ORDER} limit ${PAGE}`,
            last === undefined ? values : [...values, last.at, last.requestId, last.attempt, last.kind],
          );
          yield* page;
          last = page.at(-1);
          if (last === undefined || page.length < PAGE) return;
        }
      })();
    },

    async entriesOf(requestIds) {
      const ids = checkedRequestIds(requestIds);
      if (ids.length === 0) return [];
      return readEntries(`request_id = any ($1::text[]) order by ${ORDER}`, [ids]);
    },

    async uncorrected(most) {
      checkedCount(most, "most", 1_000);
      return readEntries(
        `kind = 'abandoned'
        and exists (
          select from ${table} as usage where usage.request_id = ledger.request_id and usage.kind = 'usage'
        )
        and not exists (
          select from ${table} as correction where correction.request_id = ledger.request_id
            and correction.attempt = ledger.attempt and correction.kind = 'correction'
        )
        order by batch, place limit $1::integer`,
        [most],
      );
    },
  };
}

/** The filter as SQL: names out of our own table, values as parameters (S6). */
function conditionOf(filter: LedgerFilter): { readonly condition: string; readonly values: (string | number)[] } {
  const values: (string | number)[] = [];
  const conditions = ["true"];
  const add = (sql: (parameter: string) => string, value: string | number | undefined) => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(sql(`$${values.length}`));
  };
  add((parameter) => `at >= ${parameter}::bigint`, filter.from);
  add((parameter) => `at < ${parameter}::bigint`, filter.to);
  add((parameter) => `tags @> array[${parameter}::text]`, filter.tag);
  for (const field of FILTER_FIELDS) add((parameter) => `${COLUMNS[field][0]} = ${parameter}::text`, filter[field]);
  return { condition: conditions.join(" and "), values };
}

/** JSON has `null` for what an entry does not have. */
function readEntry(entry: LedgerEntry): LedgerEntry {
  return {
    ...entry,
    ttftMs: entry.ttftMs ?? undefined,
    key: entry.key ?? undefined,
    user: entry.user ?? undefined,
    team: entry.team ?? undefined,
    organization: entry.organization ?? undefined,
  };
}

function readTotals(totals: TotalsText): LedgerTotals {
  return {
    requests: totals.requests,
    attempts: totals.attempts,
    promptTokens: Number(totals.promptTokens),
    cachedTokens: Number(totals.cachedTokens),
    cacheWriteTokens: Number(totals.cacheWriteTokens),
    completionTokens: Number(totals.completionTokens),
    reasoningTokens: Number(totals.reasoningTokens),
    costNanoUsd: BigInt(totals.costNanoUsd),
    estimatedNanoUsd: BigInt(totals.estimatedNanoUsd),
    unpricedAttempts: totals.unpricedAttempts,
  };
}

/** What our own statement built. */
const parsed = <T>(text: string | null): T => JSON.parse(text ?? "null") as T;
