import { createHash } from "node:crypto";
import { HINT_MS, MAX_WINDOW_AMOUNT, OWNER_LIFETIME_MS, TOMBSTONE_MS, WINDOW_PARTS } from "../stores/store.js";
import { KEPT_PARTS } from "../stores/window.js";

/**
 * The scripts of the store. Each is one decision, atomic, on the keys of one slot, all of which it is given.
 *
 * What lies in Redis, per partition (`{…}` is the hash tag):
 *
 *     r       hash    id → record of a reservation that is open, or that expired and that nobody has settled
 *     due     zset    id of the open ones, by the earliest time at which it may expire; and a mark behind all of them
 *     x       zset    id of the expired ones, by when they did
 *     t:<id>          until when a settled reservation is remembered
 *     w:…     window: the number of the newest part, the sum of all counts, the counts as in stores/window.ts
 *     s:…     zset    slots: reservation by deadline
 *     b:…     budget: what is spent, what is reserved, until when it is kept
 *     h:…     hint: until when it is kept, the deployment
 *
 * and once for all partitions, under the tag `{$}`: `owners` (zset by the end of their life), `partitions` (zset by when
 * to look for expired reservations), `epoch` and `cooldowns`.
 *
 * Windows and budgets are numbers of eight bytes. A record: `o`, the time of the reservation, how many windows were charged
 * and the part of each, what the process composed (see plan.ts). An expired one has before it: `e`, until when it is kept,
 * tokens, money.
 *
 * Most of a decision's time is spent in the interpreter. What costs there is calls, each about a microsecond, and numbers
 * that become text, half of one; arithmetic costs nothing beside them. So scripts carry only the functions they need,
 * numbers stay numbers, and what is seldom needed is found out by the writing that has to be done anyway. All numbers are
 * integers; infinity is -1 in an answer.
 */
export interface Script {
  readonly text: string;
  readonly sha1: string;
}

/** An outage of all processes may last this long without losing what they had reserved. */
const KEEP_MS = 32 * 24 * 60 * 60 * 1_000;
/** Reservations that live longer than this renew the time to live of what they are written to, each. */
const SHORT_LIFETIME_MS = 60 * 60 * 1_000;
/** How long an owner's last sign of life is kept after its end, for clocks that step back. */
const OWNER_GRACE_MS = 10 * 60 * 1_000;
/** The first byte of a record. */
const [OPEN, EXPIRED] = ["o", "e"] as const;
const EXPIRED_BYTE = EXPIRED.charCodeAt(0);
/**
 * In `r` and `due` beside the reservations, which cannot have its name: while there is one, so are both keys with their
 * time to live. Whoever adds it knows that they are new.
 */
const MARK = "\\n";
/** A window is so many bytes: the newest part and the sum, and its counts. */
const HEAD_BYTES = 16;
const COUNT_BYTES = 8 * KEPT_PARTS;

const BASE = `
local KEYS, ARGV, call, floor, max, min = KEYS, ARGV, redis.call, math.floor, math.max, math.min
local read, write, sub, byte, format = struct.unpack, struct.pack, string.sub, string.byte, string.format
local INFINITY = math.huge
-- Tests have a time of their own.
local function time(given)
  if given ~= '' then return tonumber(given) end
  local parts = call('TIME')
  return parts[1] * 1000 + floor(parts[2] / 1000)
end
`;

const NUMBERS = `
local function text(n) return format('%.0f', n) end
`;

// The arithmetic of windows is that of stores/window.ts: the count of part n is at n % KEPT.
const WINDOWS = `
local PARTS, KEPT, STEPS, MAX_WINDOW = ${WINDOW_PARTS}, ${KEPT_PARTS}, 1024, ${MAX_WINDOW_AMOUNT}
-- How much counts in a window whose newest part is the current one: all of it, but of what is sliding out a part.
local function used_of(total, oldest, now, current, part_ms, strict)
  if oldest == 0 or strict then return total end
  local steps = math.ceil((part_ms - max(0, now - current * part_ms)) * STEPS / part_ms)
  return total - oldest + math.ceil(oldest * steps / STEPS)
end
`;

const WINDOW_LISTS = `
-- A window as a list: the number of the newest part, then the counts.
local function read_window(value)
  if not value then return { 0${", 0".repeat(KEPT_PARTS)} } end
  local window = { read('<dd${"d".repeat(KEPT_PARTS)}', value) }
  table.remove(window, 2)
  return window
end
local function packed_window(window)
  local total = 0
  for at = 2, KEPT + 1 do total = total + window[at] end
  return write('<dd', window[1], total) .. write('<${"d".repeat(KEPT_PARTS)}', unpack(window, 2, KEPT + 1)), total
end
local function charge_window(window, current, amount)
  for part = max(window[1], current - KEPT) + 1, current do window[part % KEPT + 2] = 0 end
  window[1] = current
  local at = current % KEPT + 2
  window[at] = min(max(0, window[at] + amount), MAX_WINDOW)
end
-- The same, packed, with the current part as the newest. Answers with the sum, too.
local function rolled(value, current)
  local window = read_window(value)
  charge_window(window, current, 0)
  return packed_window(window)
end
`;

const CORRECT_WINDOWS = `
-- Changes an earlier charge in a window as text, as long as its part is still there: answers with the new text.
local function corrected(value, now, part_ms, part, difference)
  if not value then return nil end
  local latest, total = read('<dd', value)
  if part < max(floor(now / part_ms), latest) - PARTS or part > latest then return nil end
  local at = ${HEAD_BYTES} + 8 * (part % KEPT)
  local count = read('<d', value, at + 1)
  local changed = min(max(0, count + difference), MAX_WINDOW)
  return write('<dd', latest, total + changed - count) .. sub(value, ${HEAD_BYTES + 1}, at) .. write('<d', changed) .. sub(value, at + 9), latest
end
local function write_window(key, value, latest, now, part_ms)
  call('SET', key, value, 'PX', format('%d', max(part_ms, (latest + KEPT) * part_ms - now)))
end
`;

const FORECASTS = `
local function used_in(window, now, part_ms, strict)
  local current = window[1]
  local total = 0
  for at = 2, KEPT + 1 do total = total + window[at] end
  return used_of(total, window[(current + 1) % KEPT + 2], now, current, part_ms, strict)
end
local function count_of(window, part)
  if part > window[1] or part <= window[1] - KEPT or part < 0 then return 0 end
  return window[part % KEPT + 2]
end
local function time_until_used(window, now, part_ms, strict, most)
  if used_in(window, now, part_ms, strict) <= most then return 0 end
  local part = window[1]
  while true do
    local room = most
    for other = part - PARTS + 1, part do room = room - count_of(window, other) end
    if room >= 0 then
      local oldest = count_of(window, part - PARTS)
      if oldest <= room then return part * part_ms - now end
      if not strict then
        local elapsed = part_ms - floor(floor(room * STEPS / oldest) * part_ms / STEPS)
        if elapsed < part_ms then return part * part_ms + elapsed - now end
      end
    end
    part = part + 1
  end
end
local function time_until_empty(value, now, part_ms)
  local window = read_window(value)
  local current = window[1]
  for part = current, current - PARTS, -1 do
    if count_of(window, part) > 0 then return (part + KEPT) * part_ms - now end
  end
  return 0
end
`;

const BUDGET_ACCOUNTS = `
local MAX_INTEGER = ${Number.MAX_SAFE_INTEGER}
local function bounded(n) return min(max(0, n), MAX_INTEGER) end
local function read_budget(value, now)
  if not value then return 0, 0, 0 end
  local spent, reserved, keep_until = read('<ddd', value)
  if reserved == 0 and keep_until <= now then spent = 0 end
  return spent, reserved, keep_until
end
local function write_budget(key, spent, reserved, kept_until, now, keep_ms)
  -- The later one: reservations may have been made under different settings, and may end in any order.
  local keep_until = max(kept_until, now + keep_ms)
  local value = write('<ddd', spent, reserved, keep_until)
  if keep_until == INFINITY then call('SET', key, value)
  else call('SET', key, value, 'PX', format('%d', max(keep_until - now, 1) + (reserved > 0 and ${KEEP_MS} or 0))) end
end
`;

const RECORDS = `
local function read_record(value)
  local created, part_count, at = read('<dB', value, 2)
  local part_at = at
  local record, lifetime, count = { created = created }, nil, nil
  lifetime, record.owner, record.note, count, at = read('ssss', value, at + 8 * part_count)
  record.lifetime = lifetime + 0
  for index = 1, count do
    local charge, amount, limit, length = {}, nil, nil, nil
    charge.account, charge.kind, amount, limit, length, charge.strict, charge.name, at = read('sssssss', value, at)
    charge.amount, charge.limit, charge.length = amount + 0, limit + 0, length + 0
    if charge.kind == 'r' or charge.kind == 't' then charge.part, part_at = read('<d', value, part_at) end
    record[index] = charge
  end
  return record
end
-- Whether the caller declared the accounts of the reservation, from the given key on. The first key is the hash of all.
local function declares(record, first)
  if #record ~= #KEYS - first + 1 then return false end
  local start = sub(KEYS[1], 1, -2)
  for at = 1, #record do if KEYS[first + at - 1] ~= start .. record[at].name then return false end end
  return true
end
local function names_of(record)
  local names = { 'accounts' }
  for at = 1, #record do names[at + 1] = record[at].name end
  return table.concat(names, '\\n')
end
`;

const WRITE_RECORDS = `
local function text(n)
  if n == INFINITY then return '1e999' end
  return format('%d', n)
end
local function write_record(record)
  local pieces, parts = {}, {}
  for at = 1, #record do
    local charge = record[at]
    if charge.part then parts[#parts + 1] = write('<d', charge.part) end
    pieces[at] = write('sssssss', charge.account, charge.kind, text(charge.amount), text(charge.limit), text(charge.length),
      charge.strict, charge.name)
  end
  return '${OPEN}' .. write('<dB', record.created, #parts) .. table.concat(parts)
    .. write('ssss', text(record.lifetime), record.owner, record.note, text(#record)) .. table.concat(pieces)
end
`;

function script(...parts: string[]): Script {
  const text = BASE + parts.join("");
  return { text, sha1: createHash("sha1").update(text).digest("hex") };
}

/**
 * Keys: r, due, the partitions where they are in reach, t:<id>, the accounts, the hint if asked for, the epoch where it is
 * in reach. The argument: time, 1 with a hint + 2 with the epoch in reach, id, partition, the plan (see plan.ts). Answers 1, the candidate, the epoch, the hint, and two numbers per
 * limit; or 0, and per candidate how many denials and three numbers for each, and after a single one two numbers per limit.
 */
export const RESERVE = script(
  WINDOWS,
  `
-- To make these functions costs more than most decisions need them.
local function seldom()
  ${WINDOW_LISTS}
  ${FORECASTS}
  return rolled, read_window, time_until_used, time_until_empty
end
`,
  BUDGET_ACCOUNTS,
  `
local plan = ARGV[1]
local given, flags, id, partition, account_count, candidate_count, at = read('ssssss', plan)
local now = time(given)
-- A comparison needs numbers, arithmetic takes text.
flags = flags + 0
local is_standalone = flags >= 2
local before_accounts = is_standalone and 4 or 3
-- Slots are there, too, as nothing: it is cheaper than a list without them.
local values = call('MGET', unpack(KEYS, before_accounts))
local is_known = values[1] and tonumber(values[1]) > now

-- Of windows: the length and the number of the part that runs now, the window as text, its sum, the count that slides out.
local lengths, currents, totals, oldests, ttls = {}, {}, {}, {}, {}
-- Of budgets: what is spent, reserved, and until when it is kept. Of slots: how many are taken.
local spent, reserved, kept, held = {}, {}, {}, {}
for n = 1, account_count do
  local kind, ttl
  kind, ttl, at = read('ss', plan, at)
  if ttl ~= '' then
    local length = kind + 0
    local value, current, total = values[n + 1], floor(now / length), 0
    local latest
    if value then latest, total = read('<dd', value) end
    if not value or current - latest >= KEPT then
      value, total, oldests[n] = write('<dd', current, 0) .. string.rep('\\0', ${COUNT_BYTES}), 0, 0
    else
      -- Behind the newest part the clock has stepped back: it stays frozen.
      if latest < current then
        local rolled = seldom()
        value, total = rolled(value, current)
      elseif latest > current then current, ttl = latest, format('%d', (latest + KEPT) * length - now) end
      oldests[n] = read('<d', value, ${HEAD_BYTES + 1} + 8 * ((current + 1) % KEPT))
    end
    lengths[n], currents[n], totals[n], ttls[n], values[n + 1] = length, current, total, ttl, value
  elseif kind == 's' then
    local key = KEYS[before_accounts + n]
    call('ZREMRANGEBYSCORE', key, '-inf', format('%d', now))
    held[n] = call('ZCARD', key)
  else spent[n], reserved[n], kept[n] = read_budget(values[n + 1], now) end
end

-- Looked up only before a reservation is denied: where one is made, writing it tells.
local is_looked_up = false
local function look_up()
  is_looked_up = true
  local value = call('HGET', KEYS[1], id)
  if not value then return false end
  return byte(value) ~= ${EXPIRED_BYTE} or read('<d', value, 2) > now
end

local denied = { 0 }
for candidate = 0, candidate_count - 1 do
  local record_at = at
  local lifetime, charge_count, _
  lifetime, _, _, charge_count, at = read('ssss', plan, at)
  local account_of, amount_of, most, strict, keeps, charge_of = {}, {}, {}, {}, {}, nil
  for n = 1, charge_count do
    local account, amount, limit
    account, _, amount, limit, keeps[n], strict[n], _, at = read('sssssss', plan, at)
    account_of[n], amount_of[n], most[n] = account + 0, amount + 0, limit + 0
  end
  local record_end, limit_count = at - 1, nil
  limit_count, at = read('s', plan, at)
  -- Without limits of their own, charges are the limits.
  if limit_count == '=' then limit_count = charge_count
  else
    charge_of = {}
    for n = 1, limit_count do
      local charge, limit
      charge, limit, strict[n], at = read('sss', plan, at)
      charge_of[n], most[n] = charge + 0, limit + 0
    end
  end

  local used, denials, denial_count = {}, {}, 0
  for index = 1, limit_count do
    local charge = charge_of and charge_of[index] or index
    local account, amount, limit, now_used = account_of[charge], amount_of[charge], most[index], nil
    local length = lengths[account]
    if length then
      now_used = used_of(totals[account], oldests[account], now, currents[account], length, strict[index] == '1')
    else now_used = held[account] or spent[account] + reserved[account] end
    used[index] = now_used
    if not is_known and now_used + amount > limit then
      local retry = -1
      if length and amount <= limit then
        local _, read_window, time_until_used = seldom()
        retry = time_until_used(read_window(values[account + 1]), now, length, strict[index] == '1', limit - amount)
      end
      local last = 3 * denial_count
      denials[last + 1], denials[last + 2], denials[last + 3] = index - 1, retry, amount > limit and 1 or 0
      denial_count = denial_count + 1
    end
  end
  if denial_count > 0 and not is_looked_up and look_up() then
    is_known = true
    denial_count = 0
  end

  local added = {}
  if denial_count == 0 and not is_known then
    local parts, part_count, deadline = '', 0, now + lifetime
    -- What is never empty is renewed now and then: in a month of short reservations one of them falls on such a time.
    local renews = now % 16 == 0 or lifetime + 0 > ${SHORT_LIFETIME_MS}
    for n = 1, charge_count do
      local current = currents[account_of[n]]
      if current then parts, part_count = parts .. write('<d', current), part_count + 1 end
    end
    local record = '${OPEN}' .. write('<dB', now, part_count) .. parts .. sub(plan, record_at, record_end)
    if call('HSETNX', KEYS[1], id, record) == 0 then
      is_known = look_up()
      if not is_known then call('HSET', KEYS[1], id, record) end
    end
    if not is_known then
      for n = 1, charge_count do
        local account, amount = account_of[n], amount_of[n]
        local key, current = KEYS[before_accounts + account], currents[account]
        if current then
          local value, count_at = values[account + 1], ${HEAD_BYTES} + 8 * (current % KEPT)
          local count = read('<d', value, count_at + 1)
          local changed = min(max(0, count + amount), MAX_WINDOW)
          added[account] = changed - count
          value = write('<dd', current, totals[account] + changed - count) .. sub(value, ${HEAD_BYTES + 1}, count_at)
            .. write('<d', changed) .. sub(value, count_at + 9)
          values[account + 1] = value
          call('SET', key, value, 'PX', ttls[account])
        elseif held[account] then
          added[account] = call('ZADD', key, format('%d', deadline), id)
          if renews or held[account] == 0 then call('PEXPIRE', key, lifetime + ${KEEP_MS}) end
        else
          local now_reserved = bounded(reserved[account] + amount)
          added[account] = now_reserved - reserved[account]
          write_budget(key, spent[account], now_reserved, kept[account], now, keeps[n] + 0)
        end
      end
      local look = min(deadline, now + ${OWNER_LIFETIME_MS})
      local look_text = format('%d', look)
      local is_new = call('ZADD', KEYS[2], look_text, id, '+inf', '${MARK}') == 2
      if is_new then call('HSET', KEYS[1], '${MARK}', '') end
      if is_new or renews then
        call('PEXPIRE', KEYS[1], lifetime + ${KEEP_MS})
        call('PEXPIRE', KEYS[2], lifetime + ${KEEP_MS})
      end
      if is_standalone then
        local listed = call('ZSCORE', KEYS[3], partition)
        local is_later = not listed or tonumber(listed) > look
        if is_later then call('ZADD', KEYS[3], look_text, partition) end
        if is_later or renews then call('PEXPIRE', KEYS[3], lifetime + ${KEEP_MS}) end
      end
    end
  end

  local answer, last
  if denial_count == 0 then
    local hint = ''
    if flags % 2 == 1 and values[account_count + 2] then
      local keep_until, deployment = string.match(values[account_count + 2], '^(%d+) (.*)$')
      if tonumber(keep_until) > now then hint = deployment end
    end
    local epoch = is_standalone and values[#KEYS - before_accounts + 1] or '0'
    answer, last = { 1, candidate, epoch, hint }, 4
  else
    answer, last = denied, #denied
    answer[last + 1] = denial_count
    for n = 1, 3 * denial_count do answer[last + 1 + n] = denials[n] end
    last = last + 1 + 3 * denial_count
  end
  if denial_count == 0 or candidate_count == '1' then
    for index = 1, limit_count do
      local account, limit = account_of[charge_of and charge_of[index] or index], most[index]
      local length, plus = lengths[account], added[account] or 0
      answer[last + 1] = limit == INFINITY and -1 or max(0, limit - used[index] - plus)
      -- What was just charged is the last that leaves.
      if not length then answer[last + 2] = 0
      elseif plus > 0 then answer[last + 2] = (currents[account] + KEPT) * length - now
      elseif totals[account] == 0 then answer[last + 2] = 0
      else
        local _, _, _, time_until_empty = seldom()
        answer[last + 2] = time_until_empty(values[account + 1], now, length)
      end
      last = last + 2
    end
  end
  if denial_count == 0 then return answer end
end
return denied
`,
);

/**
 * Keys: r, due, t:<id>, x, the hint if there is one, the accounts. The argument: time,
 * requests, tokens, money, for how long to remember it, id, deployment. Answers 0 unknown, 1 applied, 2 corrected,
 * 3 duplicate; then what is replaced, and two numbers per budget. Or the names of the accounts, where they are others.
 */
export const SETTLE = script(
  WINDOWS,
  CORRECT_WINDOWS,
  BUDGET_ACCOUNTS,
  RECORDS,
  `
local given, requests, tokens, cost, tombstone_ms, id, deployment = read('sssssss', ARGV[1])
local now = time(given)
local before_accounts = deployment == '' and 4 or 5
local value, replaced = call('HGET', KEYS[1], id), nil
if value and byte(value) == ${EXPIRED_BYTE} then
  local keep_until, _, charged, rest = read('<ddd', value, 2)
  value = keep_until > now and sub(value, rest) or nil
  if value then replaced = charged end
end
if not value then
  local ended = call('GET', KEYS[3])
  return { ended and tonumber(ended) > now and 3 or 0, 0 }
end
local record = read_record(value)
if not declares(record, before_accounts + 1) then return names_of(record) end
local answer, last = { replaced and 2 or 1, replaced or 0 }, 2
local values = #record > 0 and call('MGET', unpack(KEYS, before_accounts + 1))
for index = 1, #record do
  local charge, key = record[index], KEYS[before_accounts + index]
  local kind, amount = charge.kind, charge.amount
  if kind == 's' then call('ZREM', key, id)
  elseif kind == 'b' then
    local spent, reserved, kept = read_budget(values[index], now)
    if replaced then spent = bounded(spent + (cost - amount))
    else
      spent = bounded(spent + cost)
      reserved = bounded(reserved - amount)
    end
    write_budget(key, spent, reserved, kept, now, charge.length)
    answer[last + 1], answer[last + 2] = spent, reserved
    last = last + 2
  else
    local difference = (kind == 't' and tokens or requests) - amount
    if difference ~= 0 then
      local window, latest = corrected(values[index], now, charge.length, charge.part, difference)
      if window then write_window(key, window, latest, now, charge.length) end
    end
  end
end
call('HDEL', KEYS[1], id)
call('ZREM', KEYS[replaced and 4 or 2], id)
-- One that expired was booked by others: whoever made it is to learn that, however late.
if replaced then tombstone_ms = '${TOMBSTONE_MS}' end
if tombstone_ms ~= '0' then call('SET', KEYS[3], format('%d', now + tombstone_ms), 'PX', tombstone_ms) end
if deployment ~= '' then call('SET', KEYS[5], format('%d', now + ${HINT_MS}) .. ' ' .. deployment, 'PX', '${HINT_MS}') end
return answer
`,
);

/**
 * Keys: r, the hint if there is one, the accounts. The argument: time, requests, tokens, money, note (empty: as before),
 * id, deployment. Answers 0; or 1 and two numbers per budget. Or the names of the accounts, where they are others.
 */
export const ADJUST = script(
  WINDOWS,
  CORRECT_WINDOWS,
  BUDGET_ACCOUNTS,
  RECORDS,
  WRITE_RECORDS,
  `
local given, requests, tokens, cost, note, id, deployment = read('sssssss', ARGV[1])
local now = time(given)
requests, tokens, cost = requests + 0, tokens + 0, cost + 0
local before_accounts = deployment == '' and 1 or 2
local value = call('HGET', KEYS[1], id)
if not value or byte(value) == ${EXPIRED_BYTE} then return { 0 } end
local record = read_record(value)
if not declares(record, before_accounts + 1) then return names_of(record) end
local answer, last = { 1 }, 1
local values = #record > 0 and call('MGET', unpack(KEYS, before_accounts + 1))
for index = 1, #record do
  local charge, key = record[index], KEYS[before_accounts + index]
  local kind, amount = charge.kind, charge.amount
  if kind == 's' then call('ZREM', key, id)
  elseif kind == 'b' then
    local spent, reserved, kept = read_budget(values[index], now)
    reserved = bounded(reserved + (cost - amount))
    write_budget(key, spent, reserved, kept, now, charge.length)
    charge.amount = cost
    answer[last + 1], answer[last + 2] = spent, reserved
    last = last + 2
  else
    charge.amount = kind == 't' and tokens or requests
    if charge.amount ~= amount then
      local window, latest = corrected(values[index], now, charge.length, charge.part, charge.amount - amount)
      if window then write_window(key, window, latest, now, charge.length) end
    end
  end
end
if note ~= '' then record.note = note end
call('HSET', KEYS[1], id, write_record(record))
if deployment ~= '' then call('SET', KEYS[2], format('%d', now + ${HINT_MS}) .. ' ' .. deployment, 'PX', '${HINT_MS}') end
return answer
`,
);

/**
 * Keys: r, the accounts. The argument: time, tokens, money, id. Answers 1 or 0, or the
 * names of the accounts, where they are others.
 */
export const EXTEND = script(
  WINDOWS,
  WINDOW_LISTS,
  FORECASTS,
  CORRECT_WINDOWS,
  BUDGET_ACCOUNTS,
  RECORDS,
  WRITE_RECORDS,
  `
local given, tokens, cost, id = read('ssss', ARGV[1])
local now = time(given)
tokens, cost = tokens + 0, cost + 0
local value = call('HGET', KEYS[1], id)
if not value or byte(value) == ${EXPIRED_BYTE} then return 0 end
local record = read_record(value)
if not declares(record, 2) then return names_of(record) end
local changes = {}
for index = 1, #record do
  local charge, key, added = record[index], KEYS[1 + index], 0
  if charge.kind == 't' then added = tokens
  elseif charge.kind == 'b' and charge.limit ~= INFINITY then added = cost end
  if added > 0 then
    local change = { key = key, charge = charge, added = added }
    local used
    if charge.kind == 't' then
      change.value = call('GET', key)
      local window = read_window(change.value)
      charge_window(window, max(floor(now / charge.length), window[1]), 0)
      change.window = window
      used = used_in(window, now, charge.length, charge.strict == '1')
    else
      change.spent, change.reserved, change.kept = read_budget(call('GET', key), now)
      used = change.spent + change.reserved
    end
    if used + added > charge.limit then return 0 end
    changes[#changes + 1] = change
  end
end
for at = 1, #changes do
  local change = changes[at]
  local charge, key, added = change.charge, change.key, change.added
  charge.amount = charge.amount + added
  if change.window then
    local length = charge.length
    local window, latest = corrected(change.value, now, length, charge.part, added)
    if window then write_window(key, window, latest, now, length)
    else
      -- What was charged before has left the window: only what is added counts, from now on.
      charge.part = change.window[1]
      charge_window(change.window, charge.part, added)
      write_window(key, packed_window(change.window), charge.part, now, length)
    end
  else write_budget(key, change.spent, bounded(change.reserved + added), change.kept, now, charge.length) end
end
if #changes > 0 then call('HSET', KEYS[1], id, write_record(record)) end
return 1
`,
);

/** Keys: owners. */
export const HEARTBEAT = script(
  NUMBERS,
  `
local now, owner = time(ARGV[1]), ARGV[2]
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - ${OWNER_GRACE_MS}))
local known = tonumber(call('ZSCORE', KEYS[1], owner) or '0')
call('ZADD', KEYS[1], text(max(known, now + ${OWNER_LIFETIME_MS})), owner)
call('PEXPIRE', KEYS[1], '${OWNER_GRACE_MS + 2 * OWNER_LIFETIME_MS}')
return text(call('ZCOUNT', KEYS[1], '(' .. text(now), '+inf'))
`,
);

/** Who lives, and where to look for expired reservations. Keys: owners, partitions. */
export const OVERVIEW = script(
  NUMBERS,
  `
local now = time(ARGV[1])
return { call('ZRANGEBYSCORE', KEYS[1], '(' .. text(now), '+inf', 'WITHSCORES'),
  call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now), 'LIMIT', '0', ARGV[2]) }
`,
);

/**
 * What has expired in a partition, and what is not settled yet. Keys: r, due, x. Answers with two lists: id, owner and
 * names of the accounts of what is to expire; id, tokens, money, owner and note of what did.
 */
export const LOOK = script(
  RECORDS,
  `
local now, most = time(ARGV[1]), tonumber(ARGV[2])
local alive = {}
for at = 3, #ARGV, 2 do alive[ARGV[at]] = tonumber(ARGV[at + 1]) end
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[3], '-inf', format('%d', now - ${TOMBSTONE_MS}), 'LIMIT', '0', '1000')) do
  -- One that was forgotten may have been reserved anew.
  local value = call('HGET', KEYS[1], id)
  if value and byte(value) == ${EXPIRED_BYTE} then call('HDEL', KEYS[1], id) end
  call('ZREM', KEYS[3], id)
end
local due, listed = {}, {}
while #due < 3 * most do
  -- Each turn moves what it finds out of the range, but for what is over.
  local ids = call('ZRANGEBYSCORE', KEYS[2], '-inf', format('%d', now), 'LIMIT', #due / 3, '100')
  if #ids == 0 then break end
  for _, id in ipairs(ids) do
    local value = call('HGET', KEYS[1], id)
    if not value or byte(value) == ${EXPIRED_BYTE} then call('ZREM', KEYS[2], id)
    else
      local record = read_record(value)
      local alive_until = max(record.created + ${OWNER_LIFETIME_MS}, alive[record.owner] or 0)
      local ends = min(record.created + record.lifetime, alive_until)
      call('ZADD', KEYS[2], ends <= now and '0' or format('%d', ends), id)
      if ends <= now then
        local last = #due
        due[last + 1], due[last + 2], due[last + 3] = id, record.owner, names_of(record)
      end
    end
  end
end
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[3], '-inf', '+inf', 'LIMIT', '0', most)) do
  local value = call('HGET', KEYS[1], id)
  if value and byte(value) == ${EXPIRED_BYTE} then
    local _, tokens, cost, rest = read('<ddd', value, 2)
    local record, last = read_record(sub(value, rest)), #listed
    listed[last + 1], listed[last + 2], listed[last + 3] = id, tokens, cost
    listed[last + 4], listed[last + 5] = record.owner, record.note
  else call('ZREM', KEYS[3], id) end
end
return { due, listed }
`,
);

/** Charges a reservation that is over. Keys: r, due, x, the accounts. Answers with tokens, money, owner and note, or nothing. */
export const EXPIRE = script(
  BUDGET_ACCOUNTS,
  RECORDS,
  `
local now, id, alive_until = time(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local value = call('HGET', KEYS[1], id)
if not value or byte(value) == ${EXPIRED_BYTE} then return {} end
local record = read_record(value)
if min(record.created + record.lifetime, max(record.created + ${OWNER_LIFETIME_MS}, alive_until)) > now then return {} end
if not declares(record, 4) then return {} end
local tokens, cost = 0, 0
for index = 1, #record do
  local charge, key = record[index], KEYS[3 + index]
  if charge.kind == 's' then call('ZREM', key, id)
  elseif charge.kind == 'b' then
    local spent, reserved, kept = read_budget(call('GET', key), now)
    local amount = charge.amount
    write_budget(key, bounded(spent + amount), bounded(reserved - amount), kept, now, charge.length)
    cost = max(cost, amount)
  elseif charge.kind == 't' then tokens = max(tokens, charge.amount) end
end
call('HSET', KEYS[1], id, '${EXPIRED}' .. write('<ddd', now + ${TOMBSTONE_MS}, tokens, cost) .. value)
call('ZREM', KEYS[2], id)
call('ZADD', KEYS[3], format('%d', now), id)
call('PEXPIRE', KEYS[1], '${KEEP_MS}')
call('PEXPIRE', KEYS[3], '${KEEP_MS}')
return { tokens, cost, record.owner, record.note }
`,
);

/** When to look at a partition again, where its keys and the list may be together. Keys: partitions, due, x. */
export const LOOK_AGAIN = script(
  NUMBERS,
  `
local first = call('ZRANGEBYSCORE', KEYS[2], '-inf', '(+inf', 'WITHSCORES', 'LIMIT', '0', '1')
if call('ZCARD', KEYS[3]) > 0 then call('ZADD', KEYS[1], '0', ARGV[1])
elseif first[2] then call('ZADD', KEYS[1], first[2], ARGV[1])
else call('ZREM', KEYS[1], ARGV[1]) end
return ''
`,
);

/** A process is about to reserve in a partition: in a cluster, where the list is in another slot. Keys: partitions, registered. */
export const REGISTER = script(
  NUMBERS,
  `
local now = time(ARGV[1])
local look = ARGV[3] == '0' and 0 or now + tonumber(ARGV[3])
local known = call('ZSCORE', KEYS[1], ARGV[2])
if not known or tonumber(known) > look then call('ZADD', KEYS[1], text(look), ARGV[2]) end
call('ZADD', KEYS[2], text(now), ARGV[2])
call('PEXPIRE', KEYS[1], '${KEEP_MS}')
call('PEXPIRE', KEYS[2], '${KEEP_MS}')
return ''
`,
);

/** The same as {@link LOOK_AGAIN} in a cluster: what is nowhere reserved is kept while a process may be about to. Keys: partitions, registered. */
export const LOOK_AGAIN_APART = script(
  NUMBERS,
  `
local now, is_empty = time(ARGV[1]), ARGV[3] == '1'
local registered = tonumber(call('ZSCORE', KEYS[2], ARGV[2]) or '0')
if is_empty and registered + tonumber(ARGV[5]) <= now then
  call('ZREM', KEYS[1], ARGV[2])
  call('ZREM', KEYS[2], ARGV[2])
else call('ZADD', KEYS[1], text(ARGV[4] == '0' and 0 or now + tonumber(ARGV[4])), ARGV[2]) end
return ''
`,
);

/** Keys: epoch, cooldowns. */
export const COOLDOWN = script(
  NUMBERS,
  `
local now, deployment, kind, remaining = time(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local epoch = tonumber(call('GET', KEYS[1]) or '0')
local entries, known = call('HGETALL', KEYS[2]), 0
for at = 1, #entries, 2 do
  local ends = tonumber(string.match(entries[at + 1], '^%d+'))
  if ends <= now then call('HDEL', KEYS[2], entries[at])
  elseif entries[at] == deployment then known = ends end
end
if remaining > 0 and now + remaining > known then
  call('HSET', KEYS[2], deployment, text(now + remaining) .. ' ' .. kind)
  call('PEXPIRE', KEYS[2], text(remaining + ${KEEP_MS}))
  -- From the time, so that it differs from every earlier one also where the store was emptied in between.
  epoch = max(epoch + 1, now)
  call('SET', KEYS[1], text(epoch), 'PX', '${KEEP_MS}')
end
return text(epoch)
`,
);

/** Keys: cooldowns. */
export const COOLDOWNS = script(
  NUMBERS,
  `
local now = time(ARGV[1])
local entries, running = call('HGETALL', KEYS[1]), {}
for at = 1, #entries, 2 do
  local ends, kind = string.match(entries[at + 1], '^(%d+) (.*)$')
  local remaining = tonumber(ends) - now
  if remaining > 0 then
    running[#running + 1] = entries[at]
    running[#running + 1] = kind
    running[#running + 1] = text(remaining)
  end
end
return running
`,
);

/** Keys: epoch. */
export const EPOCH = script(
  NUMBERS,
  `
return call('GET', KEYS[1]) or '0'
`,
);

/** Keys: the accounts. */
export const BUDGETS = script(
  BUDGET_ACCOUNTS,
  `
local now, states = time(ARGV[1]), {}
local values = call('MGET', unpack(KEYS))
for at = 1, #KEYS do
  states[2 * at - 1], states[2 * at] = read_budget(values[at], now)
end
return states
`,
);

/** Whether a partition holds nothing (0), open reservations (1), or some that expired (2). Keys: due, x. */
export const LEFT = script(
  NUMBERS,
  `
local first = call('ZRANGEBYSCORE', KEYS[1], '-inf', '(+inf', 'WITHSCORES', 'LIMIT', '0', '1')
if call('ZCARD', KEYS[2]) > 0 or tonumber(first[2] or '1') == 0 then return '2' end
return first[1] and '1' or '0'
`,
);
