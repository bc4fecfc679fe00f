/**
 * The state of the store. Times are milliseconds of the Unix epoch; `null` where there is no end.
 *
 * Locks are taken in one order everywhere: reservations by id, then accounts by id, so that no two decisions wait for
 * each other. Rows of old traffic are deleted by `sweep` and `settle`, which skip what is locked.
 */
export const storeTables = (schema: string): readonly string[] => [
  // All accounts in one table, so that a decision locks them in one go. Half of each page stays free for the next
  // versions of its rows: counting then touches no index.
  `create table ${schema}.accounts (
    id bytea primary key,
    kind text collate "C" not null check (kind in ('window', 'slots', 'budget')),
    partition text collate "C" not null,
    key text collate "C" not null,
    -- Of a budget: its period.
    period text collate "C",
    -- Of a window: a twelfth of its length, the newest part that was charged, and the counts by part modulo 13.
    part_ms bigint,
    latest bigint not null default 0,
    counts bigint[] not null default '{0,0,0,0,0,0,0,0,0,0,0,0,0}',
    -- Of a budget: nano-USD, and until when they are kept while nothing is reserved.
    spent bigint not null default 0,
    reserved bigint not null default 0,
    keep_until bigint default 0,
    -- When it may be deleted: coarse, for it is in an index.
    purge_at bigint
  ) with (fillfactor = 50)`,
  `create index accounts_to_purge on ${schema}.accounts (purge_at)`,
  `create table ${schema}.held_slots (
    account bytea not null,
    reservation text collate "C" not null,
    deadline bigint not null,
    primary key (account, reservation)
  )`,
  `create index held_slots_by_deadline on ${schema}.held_slots (deadline)`,
  // Numbers reservations as they come, and again as they expire.
  `create sequence ${schema}.places`,
  `create table ${schema}.reservations (
    id text collate "C" primary key,
    partition text collate "C" not null,
    owner text collate "C" not null,
    -- The caller's own words about it.
    note text not null,
    state text collate "C" not null check (state in ('open', 'expired', 'settled')),
    place bigint not null,
    created_at bigint not null,
    deadline bigint not null,
    -- The earliest moment at which it can be over: its owner may have died at once.
    due_at bigint not null,
    -- Until when an ended one is remembered.
    keep_until bigint,
    -- What it holds of each account; gone once it is settled.
    charges jsonb not null,
    -- What it was charged when it expired.
    tokens bigint not null default 0,
    cost_nano_usd bigint not null default 0
  )`,
  `create index reservations_due on ${schema}.reservations (due_at) where state = 'open'`,
  `create index reservations_expired on ${schema}.reservations (place) where state = 'expired'`,
  `create index reservations_to_purge on ${schema}.reservations (keep_until) where state <> 'open'`,
  `create table ${schema}.owners (
    owner text collate "C" primary key,
    alive_until bigint not null
  )`,
  `create table ${schema}.hints (
    id bytea primary key,
    deployment text collate "C" not null,
    keep_until bigint not null
  )`,
  `create index hints_to_purge on ${schema}.hints (keep_until)`,
  `create table ${schema}.cooldowns (
    deployment text collate "C" primary key,
    place bigint not null,
    kind text collate "C" not null,
    until bigint not null
  )`,
  // One row: the only one that `cooldown` locks, so that epochs grow in the order in which they are seen.
  `create table ${schema}.cooldown_epoch (
    only_row boolean primary key default true check (only_row),
    epoch bigint not null
  )`,
  `insert into ${schema}.cooldown_epoch (epoch) values (0)`,
];
