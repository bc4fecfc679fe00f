import { createHash } from "node:crypto";
import { HINT_MS, MAX_WINDOW_AMOUNT, OWNER_LIFETIME_MS, TOMBSTONE_MS, WINDOW_PARTS } from "../stores/store.js";

/**
 * The scripts of the store. Each is one decision, atomic, on the keys of one slot, all of which it is given.
 *
 * What lies in Redis, per partition (`{…}` is the hash tag):
 *
 *     r       hash    id → record of a reservation that is open, or that expired and that nobody has settled
 *     due     zset    id of the open ones, by the earliest time at which it may expire
 *     x       zset    id of the expired ones, by when they did
 *     t:<id>          until when a settled reservation is remembered
 *     w:…     window: MessagePack of the newest part's number and of the counts, as in stores/window.ts
 *     s:…     zset    slots: reservation by deadline
 *     b:…     budget: MessagePack of what is spent, what is reserved, until when it is kept
 *     h:…     hint: until when it is kept, the deployment
 *
 * and once for all partitions, under the tag `{$}`: `owners` (zset by the end of their life), `partitions` (zset by when
 * to look for expired reservations), `epoch` and `cooldowns`.
 *
 * A record is text: what the process composed (see plan.ts), after a line with the time of the reservation and the part
 * that each window was charged in. An expired one has a line before it: `e`, until when it is kept, tokens, money.
 *
 * Most of a decision's time is spent in the interpreter: scripts carry only the functions they need, convert numbers as
 * seldom as they can, and answer with lists of numbers. All are integers; infinity is -1 in an answer.
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

const BASE = `
local KEYS, ARGV, call, floor, max, min = KEYS, ARGV, redis.call, math.floor, math.max, math.min
local INFINITY = math.huge
local function time(given)
  if given ~= '' then return tonumber(given) end
  local parts = call('TIME')
  return parts[1] * 1000 + floor(parts[2] / 1000)
end
`;

const NUMBERS = `
local function text(n)
  if n == INFINITY then return 'inf' end
  return string.format('%.0f', n)
end
local function number(s)
  if s == 'inf' then return INFINITY end
  return tonumber(s)
end
`;

// The arithmetic of windows is that of stores/window.ts: the number of the newest part, then the count of part n at
// n % KEPT_PARTS.
const WINDOWS = `
local PARTS, KEPT, STEPS, MAX_WINDOW = ${WINDOW_PARTS}, ${WINDOW_PARTS + 1}, 1024, ${MAX_WINDOW_AMOUNT}
local function read_window(value)
  if value then return cmsgpack.unpack(value) end
  return { ${new Array(WINDOW_PARTS + 2).fill("0").join(", ")} }
end
local function write_window(key, window, now, part_ms)
  call('SET', key, cmsgpack.pack(window), 'PX', max(part_ms, (window[1] + KEPT) * part_ms - now))
end
local function used_in(window, now, part_ms, strict)
  local latest, current = window[1], floor(now / part_ms)
  if current < latest then current = latest end
  local used, before = 0, current - PARTS
  for part = max(before + 1, 0), latest do used = used + window[part % KEPT + 2] end
  if before < 0 or before > latest then return used end
  local oldest = window[before % KEPT + 2]
  if oldest == 0 then return used end
  if strict then return used + oldest end
  local steps = math.ceil((part_ms - max(0, now - current * part_ms)) * STEPS / part_ms)
  return used + math.ceil(oldest * steps / STEPS)
end
local function charge_window(window, current, amount)
  for part = max(window[1], current - KEPT) + 1, current do window[part % KEPT + 2] = 0 end
  window[1] = current
  local at = current % KEPT + 2
  local count = window[at]
  window[at] = min(max(0, count + amount), MAX_WINDOW)
  return window[at] - count
end
`;

const CORRECT_WINDOWS = `
local function correct_window(window, now, part_ms, part, difference)
  if part < max(floor(now / part_ms), window[1]) - PARTS or part > window[1] then return false end
  local at = part % KEPT + 2
  window[at] = min(max(0, window[at] + difference), MAX_WINDOW)
  return true
end
`;

const FORECASTS = `
local function count_of(window, part)
  if part > window[1] or part <= window[1] - KEPT or part < 0 then return 0 end
  return window[part % KEPT + 2]
end
local function time_until_used(window, now, part_ms, strict, most)
  if used_in(window, now, part_ms, strict) <= most then return 0 end
  local part = max(floor(now / part_ms), window[1])
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
local function time_until_empty(window, now, part_ms)
  local current = max(floor(now / part_ms), window[1])
  for part = current, current - PARTS, -1 do
    if count_of(window, part) > 0 then return (part + KEPT) * part_ms - now end
  end
  return 0
end
`;

// A budget is a list: spent, reserved, until when it is kept.
const BUDGET_ACCOUNTS = `
local MAX_INTEGER = ${Number.MAX_SAFE_INTEGER}
local function bounded(n) return min(max(0, n), MAX_INTEGER) end
local function read_budget(value, now)
  if not value then return { 0, 0, 0 } end
  local budget = cmsgpack.unpack(value)
  if budget[2] == 0 and budget[3] <= now then budget[1] = 0 end
  return budget
end
local function write_budget(key, budget, now, keep_ms)
  -- The later one: reservations may have been made under different settings, and may end in any order.
  local keep_until = max(budget[3], now + keep_ms)
  budget[3] = keep_until
  if keep_until == INFINITY then call('SET', key, cmsgpack.pack(budget))
  else call('SET', key, cmsgpack.pack(budget), 'PX', max(keep_until - now, 1) + (budget[2] > 0 and ${KEEP_MS} or 0)) end
end
`;

const RECORDS = `
local HEAD, CHARGE = '^([^\\n]*)\\n([^\\n]*\\n[^\\n]*\\n%d+\\n)()', '(%a)\\n([^\\n]*)\\n(%d+)\\n(%w+)\\n(%d)\\n(%w+)\\n'
local function read_record(value)
  local parts, head, at = string.match(value, HEAD)
  local next_part = string.gmatch(parts, '%d+')
  local record = { created = tonumber(next_part()), head = head }
  for kind, name, amount, limit, strict, length in string.gmatch(string.sub(value, at), CHARGE) do
    local charge = { kind = kind, name = name, amount = tonumber(amount), limit = limit, strict = strict, length = number(length) }
    if kind == 'r' or kind == 't' then charge.part = tonumber(next_part()) end
    record[#record + 1] = charge
  end
  return record
end
-- Whether the caller declared the accounts of the reservation, from the given argument on.
local function declares(record, first)
  if #record ~= #ARGV - first + 1 then return false end
  for at = 1, #record do if ARGV[first + at - 1] ~= record[at].name then return false end end
  return true
end
`;

const WRITE_RECORDS = `
local function write_record(record)
  local parts, lines = { text(record.created) }, {}
  for _, charge in ipairs(record) do
    if charge.part then parts[#parts + 1] = text(charge.part) end
    local at = #lines
    lines[at + 1], lines[at + 2], lines[at + 3] = charge.kind, charge.name, text(charge.amount)
    lines[at + 4], lines[at + 5], lines[at + 6] = charge.limit, charge.strict, text(charge.length)
  end
  return table.concat(parts, ' ') .. '\\n' .. record.head .. table.concat(lines, '\\n') .. '\\n'
end
`;

function script(...parts: string[]): Script {
  const text = BASE + parts.join("");
  return { text, sha1: createHash("sha1").update(text).digest("hex") };
}

/**
 * Keys: r, due, the partitions where they are in reach, t:<id>, the accounts, the hint if asked for, the epoch where it is
 * in reach. Answers 1, the candidate, the epoch, the hint, and two numbers per limit; or 0, and per candidate how many
 * denials and three numbers for each, and after a single one two numbers per limit.
 */
export const RESERVE = script(
  WINDOWS,
  FORECASTS,
  BUDGET_ACCOUNTS,
  `
local now, id, lifetime, partition = time(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local has_hint, account_count, candidate_count = ARGV[5] == '1', tonumber(ARGV[6]), tonumber(ARGV[7])
local is_standalone = partition ~= ''
local before_accounts = is_standalone and 4 or 3
-- Slots are there, too, as nothing: it is cheaper than a list without them.
local values = call('MGET', unpack(KEYS, before_accounts))
local is_known = values[1] and tonumber(values[1]) > now

local lengths, windows, budgets, held = {}, {}, {}, {}
for n = 1, account_count do
  local kind = ARGV[7 + n]
  if kind == 's' then
    local key = KEYS[before_accounts + n]
    call('ZREMRANGEBYSCORE', key, '-inf', now)
    held[n] = call('ZCARD', key)
  elseif kind == 'b' then budgets[n] = read_budget(values[n + 1], now)
  else
    lengths[n] = tonumber(kind)
    windows[n] = read_window(values[n + 1])
  end
end

-- Looked up only before a reservation is denied: where one is made, writing it tells.
local is_looked_up = false
local function look_up()
  is_looked_up = true
  local value = call('HGET', KEYS[1], id)
  if not value then return false end
  local keep_until = string.match(value, '^e(%d+)')
  return not keep_until or tonumber(keep_until) > now
end

-- What is never empty is renewed now and then: in a month of short reservations one of them falls on such a time.
local renews = lifetime > ${SHORT_LIFETIME_MS} or now % 16 == 0
local at, denied = 8 + account_count, { 0 }
for candidate = 0, candidate_count - 1 do
  local charge_count = tonumber(ARGV[at])
  local charges_at, limits_at = at, at + 4 * charge_count + 2
  local limit_count, account_of, amount_of = charge_count, {}, {}
  for n = 1, charge_count do
    account_of[n], amount_of[n] = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    at = at + 4
  end
  -- Without limits of their own, charges are the limits.
  if ARGV[at + 1] == '=' then limits_at, at = charges_at + 1, at + 2
  else
    limit_count = tonumber(ARGV[at + 1])
    at = limits_at + 4 * limit_count
  end
  local is_own = limits_at ~= charges_at + 1
  local rest = ARGV[at]
  at = at + 1

  local used, most, charge_of, denials, denial_count = {}, {}, {}, {}, 0
  for index = 1, limit_count do
    local from = limits_at + 4 * (index - 1)
    local charge = is_own and tonumber(ARGV[from]) or index
    local account, limit = account_of[charge], ARGV[from + 2]
    limit = limit == 'inf' and INFINITY or tonumber(limit)
    local window, budget, now_used = windows[account], budgets[account], held[account]
    if window then now_used = used_in(window, now, lengths[account], ARGV[from + 3] == '1')
    elseif budget then now_used = budget[1] + budget[2] end
    used[index], most[index], charge_of[index] = now_used, limit, charge
    if not is_known and now_used + amount_of[charge] > limit then
      local amount, retry = amount_of[charge], -1
      if window and amount <= limit then
        retry = time_until_used(window, now, lengths[account], ARGV[from + 3] == '1', limit - amount)
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
    local record, deadline = now, now + lifetime
    for n = 1, charge_count do
      local length = lengths[account_of[n]]
      if length then record = record .. ' ' .. max(floor(now / length), windows[account_of[n]][1]) end
    end
    record = record .. '\\n' .. rest
    if call('HSETNX', KEYS[1], id, record) == 0 then
      is_known = look_up()
      if not is_known then call('HSET', KEYS[1], id, record) end
    end
    if not is_known then
      for n = 1, charge_count do
        local account, amount = account_of[n], amount_of[n]
        local key, length = KEYS[before_accounts + account], lengths[account]
        if length then
          local window = windows[account]
          added[account] = charge_window(window, max(floor(now / length), window[1]), amount)
          write_window(key, window, now, length)
        elseif held[account] then
          added[account] = call('ZADD', key, deadline, id)
          if renews or held[account] == 0 then call('PEXPIRE', key, lifetime + ${KEEP_MS}) end
        else
          local budget, keep = budgets[account], ARGV[charges_at + 4 * n]
          local reserved = bounded(budget[2] + amount)
          added[account] = reserved - budget[2]
          budget[2] = reserved
          write_budget(key, budget, now, keep == 'inf' and INFINITY or tonumber(keep))
        end
      end
      local look = min(deadline, now + ${OWNER_LIFETIME_MS})
      call('ZADD', KEYS[2], look, id)
      if renews or call('ZCARD', KEYS[2]) == 1 then
        call('PEXPIRE', KEYS[1], lifetime + ${KEEP_MS})
        call('PEXPIRE', KEYS[2], lifetime + ${KEEP_MS})
      end
      if is_standalone then
        local listed = call('ZSCORE', KEYS[3], partition)
        if not listed or tonumber(listed) > look then
          call('ZADD', KEYS[3], look, partition)
          call('PEXPIRE', KEYS[3], lifetime + ${KEEP_MS})
        end
      end
    end
  end

  local answer, last
  if denial_count == 0 then
    local hint = ''
    if has_hint and values[account_count + 2] then
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
  if denial_count == 0 or candidate_count == 1 then
    for index = 1, limit_count do
      local account, limit = account_of[charge_of[index]], most[index]
      local length = lengths[account]
      answer[last + 1] = limit == INFINITY and -1 or max(0, limit - used[index] - (added[account] or 0))
      answer[last + 2] = length and time_until_empty(windows[account], now, length) or 0
      last = last + 2
    end
  end
  if denial_count == 0 then return answer end
end
return denied
`,
);

/**
 * Keys: r, due, t:<id>, x, the hint or t:<id> again, the accounts. Answers 0 unknown, 1 applied, 2 corrected, 3 duplicate;
 * then what is replaced, and two numbers per budget. Or the record, where the accounts are others.
 */
export const SETTLE = script(
  NUMBERS,
  WINDOWS,
  CORRECT_WINDOWS,
  BUDGET_ACCOUNTS,
  RECORDS,
  `
local now, id = time(ARGV[1]), ARGV[2]
local requests, tokens, cost, deployment = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local value, replaced = call('HGET', KEYS[1], id), nil
if value and string.byte(value) == ${"e".charCodeAt(0)} then
  local keep_until, charged, rest = string.match(value, '^e(%d+) %d+ (%d+)\\n(.*)$')
  value = nil
  if tonumber(keep_until) > now then value, replaced = rest, tonumber(charged) end
end
if not value then
  local ended = call('GET', KEYS[3])
  return { ended and tonumber(ended) > now and 3 or 0, 0 }
end
local record = read_record(value)
if not declares(record, 8) then return 'accounts\\n' .. value end
local answer = { replaced and 2 or 1, replaced or 0 }
local values = #record > 0 and call('MGET', unpack(KEYS, 6))
for index = 1, #record do
  local charge, key = record[index], KEYS[5 + index]
  local kind, amount = charge.kind, charge.amount
  if kind == 's' then call('ZREM', key, id)
  elseif kind == 'b' then
    local budget = read_budget(values[index], now)
    if replaced then budget[1] = bounded(budget[1] + (cost - amount))
    else
      budget[1] = bounded(budget[1] + cost)
      budget[2] = bounded(budget[2] - amount)
    end
    write_budget(key, budget, now, charge.length)
    answer[#answer + 1] = budget[1]
    answer[#answer + 1] = budget[2]
  else
    local difference = (kind == 't' and tokens or requests) - amount
    if difference ~= 0 then
      local window = read_window(values[index])
      if correct_window(window, now, charge.length, charge.part, difference) then
        write_window(key, window, now, charge.length)
      end
    end
  end
end
call('HDEL', KEYS[1], id)
call('ZREM', KEYS[replaced and 4 or 2], id)
-- One that expired was booked by others: whoever made it is to learn that, however late.
local tombstone_ms = replaced and ${TOMBSTONE_MS} or tonumber(ARGV[7])
if tombstone_ms > 0 then call('SET', KEYS[3], now + tombstone_ms, 'PX', tombstone_ms) end
if deployment ~= '' then call('SET', KEYS[5], now + ${HINT_MS} .. ' ' .. deployment, 'PX', '${HINT_MS}') end
return answer
`,
);

/** Keys: r, the accounts. Answers 1 or 0, or the record, where the accounts are others. */
export const EXTEND = script(
  NUMBERS,
  WINDOWS,
  CORRECT_WINDOWS,
  BUDGET_ACCOUNTS,
  RECORDS,
  WRITE_RECORDS,
  `
local now, id, tokens, cost = time(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local value = call('HGET', KEYS[1], id)
if not value or string.byte(value) == ${"e".charCodeAt(0)} then return 0 end
local record = read_record(value)
if not declares(record, 5) then return 'accounts\\n' .. value end
local changes = {}
for index, charge in ipairs(record) do
  local key, added = KEYS[1 + index], 0
  if charge.kind == 't' then added = tokens
  elseif charge.kind == 'b' and charge.limit ~= 'inf' then added = cost end
  if added > 0 then
    local change = { key = key, charge = charge, added = added }
    local used
    if charge.kind == 't' then
      change.window = read_window(call('GET', key))
      used = used_in(change.window, now, charge.length, charge.strict == '1')
    else
      change.budget = read_budget(call('GET', key), now)
      used = change.budget[1] + change.budget[2]
    end
    if used + added > number(charge.limit) then return 0 end
    changes[#changes + 1] = change
  end
end
for _, change in ipairs(changes) do
  local charge = change.charge
  charge.amount = charge.amount + change.added
  if change.window then
    local window, length = change.window, charge.length
    -- What was charged before has left the window: only what is added counts, from now on.
    if not correct_window(window, now, length, charge.part, change.added) then
      charge.part = max(floor(now / length), window[1])
      charge_window(window, charge.part, change.added)
    end
    write_window(change.key, window, now, length)
  else
    change.budget[2] = bounded(change.budget[2] + change.added)
    write_budget(change.key, change.budget, now, charge.length)
  end
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

/** What has expired in a partition, and what is not settled yet. Keys: r, due, x. */
export const LOOK = script(
  `
local now, most = time(ARGV[1]), tonumber(ARGV[2])
local alive = {}
for at = 3, #ARGV, 2 do alive[ARGV[at]] = tonumber(ARGV[at + 1]) end
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[3], '-inf', now - ${TOMBSTONE_MS}, 'LIMIT', '0', '1000')) do
  -- One that was forgotten may have been reserved anew.
  local value = call('HGET', KEYS[1], id)
  if value and string.byte(value) == ${"e".charCodeAt(0)} then call('HDEL', KEYS[1], id) end
  call('ZREM', KEYS[3], id)
end
local due, listed = {}, {}
while #due < 2 * most do
  -- Each turn moves what it finds out of the range, but for what is over.
  local ids = call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', #due / 2, '100')
  if #ids == 0 then break end
  for _, id in ipairs(ids) do
    local value = call('HGET', KEYS[1], id)
    local created, owner, lifetime = string.match(value or '', '^(%d+)[^\\n]*\\n([^\\n]*)\\n[^\\n]*\\n(%d+)\\n')
    if not created then call('ZREM', KEYS[2], id)
    else
      local alive_until = max(created + ${OWNER_LIFETIME_MS}, alive[owner] or 0)
      local ends = min(created + lifetime, alive_until)
      call('ZADD', KEYS[2], ends <= now and 0 or ends, id)
      if ends <= now then due[#due + 1] = id; due[#due + 1] = value end
    end
  end
end
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[3], '-inf', '+inf', 'LIMIT', '0', most)) do
  local value = call('HGET', KEYS[1], id)
  if value and string.byte(value) == ${"e".charCodeAt(0)} then
    listed[#listed + 1] = id
    listed[#listed + 1] = value
  else call('ZREM', KEYS[3], id) end
end
return { due, listed }
`,
);

/** Charges a reservation that is over. Keys: r, due, x, the accounts. */
export const EXPIRE = script(
  NUMBERS,
  BUDGET_ACCOUNTS,
  RECORDS,
  `
local now, id, alive_until = time(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local value = call('HGET', KEYS[1], id)
if not value or string.byte(value) == ${"e".charCodeAt(0)} then return '' end
local record = read_record(value)
local lifetime = tonumber(string.match(record.head, '(%d+)\\n$'))
if min(record.created + lifetime, max(record.created + ${OWNER_LIFETIME_MS}, alive_until)) > now then return '' end
if not declares(record, 4) then return '' end
local tokens, cost = 0, 0
for index, charge in ipairs(record) do
  local key = KEYS[3 + index]
  if charge.kind == 's' then call('ZREM', key, id)
  elseif charge.kind == 'b' then
    local budget = read_budget(call('GET', key), now)
    budget[1] = bounded(budget[1] + charge.amount)
    budget[2] = bounded(budget[2] - charge.amount)
    write_budget(key, budget, now, charge.length)
    cost = max(cost, charge.amount)
  elseif charge.kind == 't' then tokens = max(tokens, charge.amount) end
end
local expired = 'e' .. text(now + ${TOMBSTONE_MS}) .. ' ' .. text(tokens) .. ' ' .. text(cost) .. '\\n' .. value
call('HSET', KEYS[1], id, expired)
call('ZREM', KEYS[2], id)
call('ZADD', KEYS[3], now, id)
call('PEXPIRE', KEYS[1], '${KEEP_MS}')
call('PEXPIRE', KEYS[3], '${KEEP_MS}')
return expired
`,
);

/** When to look at a partition again, where its keys and the list may be together. Keys: partitions, due, x. */
export const LOOK_AGAIN = script(
  NUMBERS,
  `
local first = call('ZRANGE', KEYS[2], '0', '0', 'WITHSCORES')
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
  local budget = read_budget(values[at], now)
  states[2 * at - 1], states[2 * at] = budget[1], budget[2]
end
return states
`,
);

/** Whether a partition holds nothing (0), open reservations (1), or some that expired (2). Keys: due, x. */
export const LEFT = script(
  NUMBERS,
  `
local first = call('ZRANGE', KEYS[1], '0', '0', 'WITHSCORES')
if call('ZCARD', KEYS[2]) > 0 or tonumber(first[2] or '1') == 0 then return '2' end
return first[1] and '1' or '0'
`,
);
