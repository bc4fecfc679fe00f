import type { DirectoryStore, EntryPage, ListFilter } from "../access/directory-store.js";
import type { EntryOf, Level } from "../access/entries.js";
import type { Database } from "./database.js";

/** No id is longer: what is longer names nothing. */
const MAX_ID_LENGTH = 512;
const DEFAULT_LIMIT = 100;

export function postgresDirectoryStore(database: Database): DirectoryStore {
  const { schema } = database;
  return {
    name: "postgres",
    isShared: true,

    async get<L extends Level>(level: L, id: string) {
      if (!canExist(id)) return undefined;
      return entryOf<L>(
        await database.ask(`select entry::text from ${schema}.directory where level = $1 and id = $2`, [level, id]),
      );
    },

    async findKey(digest) {
      if (!canExist(digest)) return undefined;
      return entryOf<"key">(
        await database.ask(
          `select entry::text from ${schema}.directory
          where level = 'key' and id = (select key_id from ${schema}.directory_digests where digest = $1)`,
          [digest],
        ),
      );
    },

    async put<L extends Level>(level: L, entry: EntryOf[L], replaced: number | undefined) {
      // Read loosely: not every level has every one of these fields.
      const fields = entry as Partial<EntryOf["key"] & EntryOf["user"]>;
      const { organization, user, team, teams, digest, previousDigest } = fields;
      const answer = await database.ask(
        `select ${schema}.put_directory_entry($1::text, $2::text, $3::bigint, $4::bigint, $5::text, $6::text, $7::text[], $8::text[], $9::text::json)`,
        [
          level,
          entry.id,
          entry.version,
          replaced ?? null,
          organization ?? null,
          user ?? null,
          [...(teams ?? []), ...(team === undefined ? [] : [team])],
          [digest, previousDigest].filter((each) => each !== undefined),
          JSON.stringify(entry),
        ],
      );
      return answer === "true";
    },

    async remove(level, id, version) {
      if (!canExist(id)) return false;
      const removed = await database.ask(
        `with removed as (
          delete from ${schema}.directory where level = $1 and id = $2 and version = $3::bigint returning level, id
        ), digests as (
          delete from ${schema}.directory_digests using removed where removed.level = 'key' and key_id = removed.id
        )
        select count(*)::text from removed`,
        [level, id, version],
      );
      return removed === "1";
    },

    async list<L extends Level>(level: L, filter: ListFilter): Promise<EntryPage<L>> {
      const { organization, team, user, limit = DEFAULT_LIMIT, after = "" } = filter;
      if (![organization, team, user, after].every((text) => text === undefined || !text.includes("\0"))) {
        return { entries: [], next: undefined };
      }
      // One more than asked for tells whether there is a next page.
      const text = await database.ask(
        `select coalesce(json_agg(entry order by id), '[]')::text from (
          select id, entry from ${schema}.directory
          where level = $1 and id > $2 and ($3::text is null or organization_id = $3::text)
            and ($4::text is null or user_id = $4::text) and ($5::text is null or team_ids @> array[$5::text])
          order by id limit $6::integer
        ) as page`,
        [level, after, organization ?? null, user ?? null, team ?? null, limit + 1],
      );
      const found = JSON.parse(text ?? "[]") as EntryOf[L][]; // as `put` stored them
      const entries = found.slice(0, limit);
      return { entries, next: found.length > limit ? entries.at(-1)?.id : undefined };
    },
  };
}

/** The database would refuse to read it, where memory only finds nothing. */
const canExist = (id: string) => id.length <= MAX_ID_LENGTH && !id.includes("\0");

/** As `put` stored it. */
const entryOf = <L extends Level>(text: string | null): EntryOf[L] | undefined =>
  text === null ? undefined : (JSON.parse(text) as EntryOf[L]);
