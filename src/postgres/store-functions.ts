import { HINT_MS, MAX_WINDOW_AMOUNT, OWNER_LIFETIME_MS, TOMBSTONE_MS, WINDOW_PARTS } from "../stores/store.js";
import { KEPT_PARTS } from "../stores/window.js";

/** As in `stores/window.ts`, which these functions repeat to the number. */
const STEPS = 1_024;
/** Accounts and owners outlive their use by this much, for clocks that step back. */
const IDLE_GRACE_MS = 600_000;
/** Moments of deletion are rounded up to it, so that counting does not change an index. */
const PURGE_STEP_MS = 3_600_000;
/** Ended reservations, accounts, hints that one sweep deletes of each. */
const PURGED_BY_SWEEP = 1_000;

/** A decision that waits longer for a lock gives up: its caller has long done so. */
const OPTIONS = "language plpgsql set lock_timeout = '2s'";

/**
 * Ends reservations.
 *
 * @param settledMs - How long one that had not expired is remembered.
 */
export const settleFunction = (
  schema: string,
  settledMs: number,
): string => `create or replace function ${schema}.settle(p_settlements jsonb, p_now bigint) returns text ${OPTIONS} as $body$
  declare
    now_ms bigint;
    settlement jsonb;
    reservation ${schema}.reservations;
    charge jsonb;
    accounts ${schema}.accounts[];
    account ${schema}.accounts;
    actual bigint;
    budgets jsonb;
    answers jsonb := '[]';
  begin
    perform from ${schema}.reservations
    where id in (select each_one ->> 'id' from jsonb_array_elements(p_settlements) as each_one)
    order by id for update;
    -- Slots are given back without: whoever counts them at this moment may count one too many, never one too few.
    accounts := ${schema}.lock_accounts(coalesce((
      select jsonb_agg(held.charge)
      from ${schema}.reservations, jsonb_array_elements(charges) as held (charge)
      where id in (select each_one ->> 'id' from jsonb_array_elements(p_settlements) as each_one)
        and held.charge ->> 'kind' <> 'slots'
    ), '[]'));
    now_ms := ${schema}.time_ms(p_now);
    for settlement in select * from jsonb_array_elements(p_settlements) loop
      select * into reservation from ${schema}.reservations
      where id = settlement ->> 'id' and partition = settlement ->> 'partition'
        and (state = 'open' or keep_until > now_ms);
      if not found or reservation.state = 'settled' then
        answers := answers || jsonb_build_object(
          'result', case when reservation.state = 'settled' then 'duplicate' else 'unknown' end,
          'replacedNanoUsd', 0,
          'budgets', '[]'::jsonb
        );
        continue;
      end if;
      budgets := '[]';
      for charge in select * from jsonb_array_elements(reservation.charges) loop
        if charge ->> 'kind' = 'slots' then
          delete from ${schema}.held_slots
          where held_slots.account = decode(charge ->> 'account', 'hex') and held_slots.reservation = settlement ->> 'id';
          continue;
        end if;
        -- Locked above; read again, for an earlier settlement of this batch may have changed it.
        select * into account from ${schema}.accounts as known where known.id = decode(charge ->> 'account', 'hex');
        if account.kind = 'window' then
          actual := (settlement ->> (charge ->> 'dimension'))::bigint;
          if ${schema}.window_has(account, now_ms, (charge ->> 'part')::bigint) then
            account := ${schema}.window_correct(
              account, (charge ->> 'part')::bigint, actual - (charge ->> 'amount')::bigint
            );
            perform ${schema}.save_account(account);
          end if;
        else
          actual := (settlement ->> 'costNanoUsd')::bigint;
          if reservation.state = 'expired' then
            account := ${schema}.budget_change(
              account, now_ms, (charge ->> 'keepMs')::bigint, actual - (charge ->> 'amount')::bigint, 0
            );
          else
            account := ${schema}.budget_change(
              account, now_ms, (charge ->> 'keepMs')::bigint, actual, -(charge ->> 'amount')::bigint
            );
          end if;
          perform ${schema}.save_account(account);
          budgets := budgets || jsonb_build_object(
            'key', account.key, 'period', account.period,
            'spentNanoUsd', account.spent, 'reservedNanoUsd', account.reserved
          );
        end if;
      end loop;
      update ${schema}.reservations set state = 'settled', charges = '[]', keep_until = now_ms +
        -- One that expired was booked by others: whoever made it is to learn that, however late.
        case when reservation.state = 'expired' then ${TOMBSTONE_MS} else ${settledMs} end
      where id = settlement ->> 'id';
      if settlement ->> 'hint' is not null then
        insert into ${schema}.hints (id, deployment, keep_until)
        values (decode(settlement ->> 'hint', 'hex'), settlement ->> 'deployment', now_ms + ${HINT_MS})
        on conflict (id) do update set deployment = excluded.deployment, keep_until = excluded.keep_until;
      end if;
      answers := answers || jsonb_build_object(
        'result', case when reservation.state = 'expired' then 'corrected' else 'applied' end,
        'replacedNanoUsd', case when reservation.state = 'expired' then reservation.cost_nano_usd else 0 end,
        'budgets', budgets
      );
    end loop;
    perform ${schema}.purge_reservations(now_ms, 2 * jsonb_array_length(p_settlements));
    return answers::text;
  end
  $body$`;

/** Makes open reservations as large as what was used. */
export const adjustFunction = (
  schema: string,
): string => `create or replace function ${schema}.adjust(p_adjustments jsonb, p_now bigint) returns text ${OPTIONS} as $body$
  declare
    now_ms bigint;
    adjustment jsonb;
    reservation ${schema}.reservations;
    charge jsonb;
    new_charges jsonb;
    account ${schema}.accounts;
    actual bigint;
    budgets jsonb;
    answers jsonb := '[]';
  begin
    perform from ${schema}.reservations
    where id in (select each_one ->> 'id' from jsonb_array_elements(p_adjustments) as each_one)
    order by id for update;
    -- Slots are given back without, as where they are settled.
    perform ${schema}.lock_accounts(coalesce((
      select jsonb_agg(held.charge)
      from ${schema}.reservations, jsonb_array_elements(charges) as held (charge)
      where id in (select each_one ->> 'id' from jsonb_array_elements(p_adjustments) as each_one)
        and state = 'open' and held.charge ->> 'kind' <> 'slots'
    ), '[]'));
    now_ms := ${schema}.time_ms(p_now);
    for adjustment in select * from jsonb_array_elements(p_adjustments) loop
      -- Locked above; read again, for an earlier adjustment of this batch may have changed it.
      select * into reservation from ${schema}.reservations
      where id = adjustment ->> 'id' and partition = adjustment ->> 'partition' and state = 'open';
      if not found then
        answers := answers || '{"isAdjusted":false,"budgets":[]}'::jsonb;
        continue;
      end if;
      budgets := '[]';
      new_charges := '[]';
      for charge in select * from jsonb_array_elements(reservation.charges) loop
        if charge ->> 'kind' = 'slots' then
          delete from ${schema}.held_slots
          where held_slots.account = decode(charge ->> 'account', 'hex') and held_slots.reservation = adjustment ->> 'id';
          new_charges := new_charges || charge;
          continue;
        end if;
        select * into account from ${schema}.accounts as known where known.id = decode(charge ->> 'account', 'hex');
        if account.kind = 'window' then
          actual := (adjustment ->> (charge ->> 'dimension'))::bigint;
          if ${schema}.window_has(account, now_ms, (charge ->> 'part')::bigint) then
            account := ${schema}.window_correct(
              account, (charge ->> 'part')::bigint, actual - (charge ->> 'amount')::bigint
            );
            perform ${schema}.save_account(account);
          end if;
        else
          actual := (adjustment ->> 'costNanoUsd')::bigint;
          account := ${schema}.budget_change(
            account, now_ms, (charge ->> 'keepMs')::bigint, 0, actual - (charge ->> 'amount')::bigint
          );
          perform ${schema}.save_account(account);
          budgets := budgets || jsonb_build_object(
            'key', account.key, 'period', account.period,
            'spentNanoUsd', account.spent, 'reservedNanoUsd', account.reserved
          );
        end if;
        new_charges := new_charges || (charge || jsonb_build_object('amount', actual));
      end loop;
      update ${schema}.reservations
      set charges = new_charges, note = coalesce(adjustment ->> 'note', reservation.note)
      where id = adjustment ->> 'id';
      if adjustment ->> 'hint' is not null then
        insert into ${schema}.hints (id, deployment, keep_until)
        values (decode(adjustment ->> 'hint', 'hex'), adjustment ->> 'deployment', now_ms + ${HINT_MS})
        on conflict (id) do update set deployment = excluded.deployment, keep_until = excluded.keep_until;
      end if;
      answers := answers || jsonb_build_object('isAdjusted', true, 'budgets', budgets);
    end loop;
    return answers::text;
  end
  $body$`;

/**
 * The operations of the store, each one function and thus one round trip. `p_now` is the time for tests; `null`: the
 * database's own, read after the locks were taken, so that it does not go back between decisions on an account.
 */
export const storeFunctions = (schema: string): readonly string[] => [
  `create function ${schema}.time_ms(p_now bigint) returns bigint language sql volatile as $body$
    select coalesce(p_now, floor(extract(epoch from clock_timestamp()) * 1000)::bigint)
  $body$`,

  // ── windows: stores/window.ts ──
  `create function ${schema}.window_count(p_latest bigint, p_counts bigint[], p_part bigint)
  returns bigint language sql immutable as $body$
    select case when p_part > p_latest or p_part <= p_latest - ${KEPT_PARTS} or p_part < 0 then 0
      else p_counts[p_part % ${KEPT_PARTS} + 1] end
  $body$`,

  `create function ${schema}.window_used(
    p_latest bigint, p_counts bigint[], p_now bigint, p_part_ms bigint, p_is_strict boolean
  ) returns bigint language plpgsql immutable as $body$
  declare
    current_part bigint := greatest(p_now / p_part_ms, p_latest);
    oldest_part bigint := current_part - ${WINDOW_PARTS};
    used bigint := 0;
    oldest bigint;
    each_count bigint;
  begin
    if current_part = p_latest then
      -- The usual case, without looking at each part's age: all counts are of this window.
      foreach each_count in array p_counts loop
        used := used + each_count;
      end loop;
      used := used - ${schema}.window_count(p_latest, p_counts, oldest_part);
    elsif current_part - p_latest < ${KEPT_PARTS} then
      for back in 0 .. ${WINDOW_PARTS - 1} loop
        used := used + ${schema}.window_count(p_latest, p_counts, current_part - back);
      end loop;
    end if;
    oldest := ${schema}.window_count(p_latest, p_counts, oldest_part);
    if oldest = 0 then
      return used;
    elsif p_is_strict then
      return used + oldest;
    end if;
    return used + (oldest * ${schema}.window_steps(p_now, current_part, p_part_ms) + ${STEPS - 1}) / ${STEPS};
  end
  $body$`,

  `create function ${schema}.window_steps(p_now bigint, p_part bigint, p_part_ms bigint)
  returns bigint language sql immutable as $body$
    select ((p_part_ms - greatest(0, p_now - p_part * p_part_ms)) * ${STEPS} + p_part_ms - 1) / p_part_ms
  $body$`,

  `create function ${schema}.window_until_used(
    p_latest bigint, p_counts bigint[], p_now bigint, p_part_ms bigint, p_is_strict boolean, p_most bigint
  ) returns bigint language plpgsql immutable as $body$
  declare
    part bigint := greatest(p_now / p_part_ms, p_latest);
    newer bigint;
    oldest bigint;
    elapsed_ms bigint;
  begin
    if ${schema}.window_used(p_latest, p_counts, p_now, p_part_ms, p_is_strict) <= p_most then
      return 0;
    end if;
    loop
      newer := 0;
      for back in 0 .. ${WINDOW_PARTS - 1} loop
        newer := newer + ${schema}.window_count(p_latest, p_counts, part - back);
      end loop;
      if newer <= p_most then
        oldest := ${schema}.window_count(p_latest, p_counts, part - ${WINDOW_PARTS});
        if oldest <= p_most - newer then
          return part * p_part_ms - p_now;
        elsif not p_is_strict then
          elapsed_ms := p_part_ms - ((p_most - newer) * ${STEPS} / oldest) * p_part_ms / ${STEPS};
          if elapsed_ms < p_part_ms then
            return part * p_part_ms + elapsed_ms - p_now;
          end if;
        end if;
      end if;
      part := part + 1;
    end loop;
  end
  $body$`,

  `create function ${schema}.window_until_empty(p_latest bigint, p_counts bigint[], p_now bigint, p_part_ms bigint)
  returns bigint language plpgsql immutable as $body$
  declare
    current_part bigint := greatest(p_now / p_part_ms, p_latest);
  begin
    for back in 0 .. ${WINDOW_PARTS} loop
      if ${schema}.window_count(p_latest, p_counts, current_part - back) > 0 then
        return (current_part - back + ${KEPT_PARTS}) * p_part_ms - p_now;
      end if;
    end loop;
    return 0;
  end
  $body$`,

  // Adds to the part that runs now, which is then the latest.
  `create function ${schema}.window_charge(inout p_account ${schema}.accounts, p_now bigint, p_amount bigint)
  language plpgsql immutable as $body$
  declare
    current_part bigint := greatest(p_now / p_account.part_ms, p_account.latest);
    place integer;
  begin
    -- The parts that nothing was charged to since the latest.
    for back in 0 .. least(${KEPT_PARTS}, current_part - p_account.latest) - 1 loop
      place := (current_part - back) % ${KEPT_PARTS} + 1;
      p_account.counts[place] := 0;
    end loop;
    p_account.latest := current_part;
    place := current_part % ${KEPT_PARTS} + 1;
    p_account.counts[place] := least(greatest(0, p_account.counts[place] + p_amount), ${MAX_WINDOW_AMOUNT});
    p_account.purge_at := ${schema}.purge_at((current_part + ${KEPT_PARTS}) * p_account.part_ms + ${IDLE_GRACE_MS});
  end
  $body$`,

  // Is the part still in the window? One that is newer than the newest: the account was emptied meanwhile.
  `create function ${schema}.window_has(p_account ${schema}.accounts, p_now bigint, p_part bigint)
  returns boolean language sql immutable as $body$
    select p_part >= greatest(p_now / p_account.part_ms, p_account.latest) - ${WINDOW_PARTS} and p_part <= p_account.latest
  $body$`,

  `create function ${schema}.window_correct(inout p_account ${schema}.accounts, p_part bigint, p_difference bigint)
  language plpgsql immutable as $body$
  declare
    place integer := p_part % ${KEPT_PARTS} + 1;
  begin
    p_account.counts[place] := least(greatest(0, p_account.counts[place] + p_difference), ${MAX_WINDOW_AMOUNT});
  end
  $body$`,

  `create function ${schema}.purge_at(p_time bigint) returns bigint language sql immutable as $body$
    select (p_time / ${PURGE_STEP_MS} + 1) * ${PURGE_STEP_MS}
  $body$`,

  // ── budgets ──
  `create function ${schema}.budget_spent(p_account ${schema}.accounts, p_now bigint)
  returns bigint language sql immutable as $body$
    select case when p_account.reserved = 0 and p_account.keep_until <= p_now then 0 else p_account.spent end
  $body$`,

  `create function ${schema}.budget_change(
    inout p_account ${schema}.accounts, p_now bigint, p_keep_ms bigint, p_spent bigint, p_reserved bigint
  ) language plpgsql immutable as $body$
  begin
    p_account.spent :=
      least(greatest(0, ${schema}.budget_spent(p_account, p_now) + p_spent), ${Number.MAX_SAFE_INTEGER});
    p_account.reserved := least(greatest(0, p_account.reserved + p_reserved), ${Number.MAX_SAFE_INTEGER});
    -- The later one, as reservations may end in any order; once for ever, always for ever.
    p_account.keep_until := case when p_account.keep_until is not null and p_keep_ms is not null then
      greatest(p_account.keep_until, p_now + p_keep_ms) end;
    p_account.purge_at := ${schema}.purge_at(p_account.keep_until);
  end
  $body$`,

  // ── accounts ──
  // Opens and locks accounts, in the order of their ids; those that are described more than once, once.
  `create function ${schema}.lock_accounts(p_described jsonb) returns ${schema}.accounts[] language plpgsql as $body$
  declare
    locked ${schema}.accounts[];
    ids bytea[];
  begin
    select array_agg(distinct decode(described ->> 'account', 'hex')) into ids
    from jsonb_array_elements(p_described) as described;
    insert into ${schema}.accounts (id, kind, partition, key, period, part_ms)
    select distinct on (id) decode(described ->> 'account', 'hex') as id, described ->> 'kind', described ->> 'partition',
      described ->> 'key', described ->> 'period', (described ->> 'partMs')::bigint
    from jsonb_array_elements(p_described) as described
    order by id
    on conflict do nothing;
    select array_agg(account) into locked
    from (select account from ${schema}.accounts as account where id = any (ids) order by id for update) as in_order;
    if coalesce(cardinality(locked), 0) <> coalesce(cardinality(ids), 0) then
      -- Deleted as idle between the two statements: the caller tries again.
      raise exception 'an account was deleted meanwhile' using errcode = 'serialization_failure';
    end if;
    return coalesce(locked, '{}');
  end
  $body$`,

  // In plpgsql, which keeps its plans; a function in SQL that is not a mere expression is planned at each call.
  `create function ${schema}.save_account(p_account ${schema}.accounts) returns void language plpgsql as $body$
  begin
    update ${schema}.accounts set latest = p_account.latest, counts = p_account.counts, spent = p_account.spent,
      reserved = p_account.reserved, keep_until = p_account.keep_until, purge_at = p_account.purge_at
    where id = p_account.id;
  end
  $body$`,

  `create function ${schema}.account_used(p_account ${schema}.accounts, p_now bigint, p_is_strict boolean)
  returns bigint language plpgsql as $body$
  begin
    case p_account.kind
      when 'window' then
        return ${schema}.window_used(p_account.latest, p_account.counts, p_now, p_account.part_ms, p_is_strict);
      when 'budget' then
        return ${schema}.budget_spent(p_account, p_now) + p_account.reserved;
      else
        -- Those whose time is over are free, and stay so if the clock steps back.
        delete from ${schema}.held_slots where account = p_account.id and deadline <= p_now;
        return (select count(*) from ${schema}.held_slots where account = p_account.id);
    end case;
  end
  $body$`,

  // ── admit and reserveDeployment: the first candidate that has room ──
  `create function ${schema}.reserve(p_request jsonb, p_now bigint) returns text ${OPTIONS} as $body$
  declare
    reservation_id text := p_request ->> 'id';
    accounts ${schema}.accounts[];
    account ${schema}.accounts;
    now_ms bigint;
    deadline_ms bigint;
    is_known boolean;
    candidate jsonb;
    candidate_index integer := 0;
    rule jsonb;
    rule_index integer;
    charge jsonb;
    charges jsonb;
    used bigint;
    amount bigint;
    most bigint;
    denials jsonb;
    all_denials jsonb := '[]';
    states jsonb;
    chosen integer;
  begin
    accounts := ${schema}.lock_accounts(p_request -> 'accounts');
    now_ms := ${schema}.time_ms(p_now);
    deadline_ms := now_ms + (p_request ->> 'lifetimeMs')::bigint;
    select state = 'open' or keep_until > now_ms into is_known
    from ${schema}.reservations where id = reservation_id;
    is_known := coalesce(is_known, false);

    for candidate in select * from jsonb_array_elements(p_request -> 'candidates') loop
      denials := '[]';
      if not is_known then
        rule_index := 0;
        for rule in select * from jsonb_array_elements(candidate -> 'rules') loop
          charge := candidate -> 'charges' -> (rule ->> 'charge')::integer;
          account := accounts[(charge ->> 'place')::integer];
          amount := (charge ->> 'amount')::bigint;
          -- Without a limit it is only counted.
          most := (rule ->> 'most')::bigint;
          if most is not null then
            used := ${schema}.account_used(account, now_ms, (rule ->> 'isStrict')::boolean);
            if used + amount > most then
              denials := denials || jsonb_build_object(
                'index', rule_index,
                'isTooLarge', amount > most,
                'retryAfterMs', case when account.kind = 'window' and amount <= most then
                  ${schema}.window_until_used(
                    account.latest, account.counts, now_ms, account.part_ms, (rule ->> 'isStrict')::boolean, most - amount
                  ) end
              );
            end if;
          end if;
          rule_index := rule_index + 1;
        end loop;
      end if;
      if denials = '[]' then
        chosen := candidate_index;
        exit;
      end if;
      all_denials := all_denials || jsonb_build_array(denials);
      candidate_index := candidate_index + 1;
    end loop;

    if chosen is not null and not is_known then
      charges := '[]';
      for charge in select * from jsonb_array_elements(candidate -> 'charges') loop
        account := accounts[(charge ->> 'place')::integer];
        amount := (charge ->> 'amount')::bigint;
        case account.kind
          when 'window' then
            account := ${schema}.window_charge(account, now_ms, amount);
            charge := charge || jsonb_build_object('part', account.latest);
          when 'budget' then
            account := ${schema}.budget_change(account, now_ms, (charge ->> 'keepMs')::bigint, 0, amount);
          else
            insert into ${schema}.held_slots (account, reservation, deadline)
            values (account.id, reservation_id, deadline_ms)
            on conflict on constraint held_slots_pkey do update set deadline = excluded.deadline;
            account.purge_at := greatest(account.purge_at, ${schema}.purge_at(deadline_ms + ${IDLE_GRACE_MS}));
        end case;
        perform ${schema}.save_account(account);
        accounts[(charge ->> 'place')::integer] := account;
        charges := charges || charge;
      end loop;
      -- The row of an id that was used long ago, and is not remembered any more, makes room.
      delete from ${schema}.reservations where id = reservation_id;
      insert into ${schema}.reservations (id, partition, owner, note, state, place, created_at, deadline, due_at, charges)
      values (
        reservation_id, p_request ->> 'partition', p_request ->> 'owner', p_request ->> 'note', 'open',
        nextval('${schema}.places'), now_ms, deadline_ms, least(deadline_ms, now_ms + ${OWNER_LIFETIME_MS}), charges
      )
      on conflict do nothing;
      if not found then
        -- The same id, at the same moment, with other accounts: the caller tries again, and finds it known.
        raise exception 'the reservation is being made' using errcode = 'serialization_failure';
      end if;
    end if;

    -- Of the one that was reserved; where none was, of the last.
    states := '[]';
    if chosen is null then
      candidate := p_request -> 'candidates' -> -1;
    end if;
    for rule in select * from jsonb_array_elements(candidate -> 'rules') loop
      charge := candidate -> 'charges' -> (rule ->> 'charge')::integer;
      account := accounts[(charge ->> 'place')::integer];
      most := (rule ->> 'most')::bigint;
      states := states || jsonb_build_object(
        'remaining', greatest(0, most - ${schema}.account_used(account, now_ms, (rule ->> 'isStrict')::boolean)),
        'resetMs', case when account.kind = 'window' then
          ${schema}.window_until_empty(account.latest, account.counts, now_ms, account.part_ms) else 0 end,
        'isUnlimited', most is null
      );
    end loop;
    return jsonb_build_object(
      'chosen', chosen,
      'denials', all_denials,
      'states', states,
      'hint', (
        select deployment from ${schema}.hints where id = decode(p_request ->> 'hint', 'hex') and keep_until > now_ms
      ),
      'cooldownEpoch', (select epoch from ${schema}.cooldown_epoch)
    )::text;
  end
  $body$`,

  // ── settle ──
  settleFunction(schema, TOMBSTONE_MS),

  `create function ${schema}.purge_reservations(p_now bigint, p_most integer) returns void language plpgsql as $body$
  begin
    delete from ${schema}.reservations where id in (
      select id from ${schema}.reservations where state <> 'open' and keep_until <= p_now
      order by keep_until limit p_most for update skip locked
    );
  end
  $body$`,

  // ── extend ──
  `create function ${schema}.extend(p_extension jsonb, p_now bigint) returns text ${OPTIONS} as $body$
  declare
    now_ms bigint;
    reservation ${schema}.reservations;
    charge jsonb;
    new_charges jsonb := '[]';
    account ${schema}.accounts;
    added bigint;
  begin
    select * into reservation from ${schema}.reservations
    where id = p_extension ->> 'id' and partition = p_extension ->> 'partition' and state = 'open' for update;
    if not found then
      return '{"isExtended":false}';
    end if;
    perform ${schema}.lock_accounts(coalesce((
      select jsonb_agg(held.charge) from jsonb_array_elements(reservation.charges) as held (charge)
      where held.charge ->> 'kind' <> 'slots'
    ), '[]'));
    now_ms := ${schema}.time_ms(p_now);
    for charge in select * from jsonb_array_elements(reservation.charges) loop
      added := ${schema}.extension_of(charge, p_extension);
      if added > 0 then
        select * into account from ${schema}.accounts as known where known.id = decode(charge ->> 'account', 'hex');
        if ${schema}.account_used(account, now_ms, (charge ->> 'isStrict')::boolean) + added > (charge ->> 'most')::bigint then
          return '{"isExtended":false}';
        end if;
      end if;
    end loop;
    for charge in select * from jsonb_array_elements(reservation.charges) loop
      added := ${schema}.extension_of(charge, p_extension);
      if added > 0 then
        select * into account from ${schema}.accounts as known where known.id = decode(charge ->> 'account', 'hex');
        if account.kind = 'budget' then
          account := ${schema}.budget_change(account, now_ms, (charge ->> 'keepMs')::bigint, 0, added);
        elsif ${schema}.window_has(account, now_ms, (charge ->> 'part')::bigint) then
          account := ${schema}.window_correct(account, (charge ->> 'part')::bigint, added);
        else
          -- What was charged before has left the window: only what is added counts, from now on.
          account := ${schema}.window_charge(account, now_ms, added);
          charge := charge || jsonb_build_object('part', account.latest);
        end if;
        perform ${schema}.save_account(account);
        charge := charge || jsonb_build_object('amount', (charge ->> 'amount')::bigint + added);
      end if;
      new_charges := new_charges || charge;
    end loop;
    update ${schema}.reservations set charges = new_charges where id = reservation.id;
    return '{"isExtended":true}';
  end
  $body$`,

  // Budgets without a limit only count what is settled.
  `create function ${schema}.extension_of(p_charge jsonb, p_extension jsonb) returns bigint language sql immutable as $body$
    select case
      when p_charge ->> 'dimension' = 'tokens' then (p_extension ->> 'tokens')::bigint
      when p_charge ->> 'kind' = 'budget' and p_charge ->> 'most' is not null then (p_extension ->> 'costNanoUsd')::bigint
      else 0
    end
  $body$`,

  // ── heartbeat ──
  `create function ${schema}.heartbeat(p_owner text, p_now bigint) returns text ${OPTIONS} as $body$
  declare
    now_ms bigint := ${schema}.time_ms(p_now);
  begin
    insert into ${schema}.owners as known (owner, alive_until) values (p_owner, now_ms + ${OWNER_LIFETIME_MS})
    on conflict (owner) do update set alive_until = greatest(known.alive_until, excluded.alive_until);
    delete from ${schema}.owners where owner in (
      select owner from ${schema}.owners where alive_until <= now_ms - ${IDLE_GRACE_MS} for update skip locked
    );
    return jsonb_build_object(
      'liveOwners', (select count(*) from ${schema}.owners where alive_until > now_ms)
    )::text;
  end
  $body$`,

  // ── sweep ──
  `create function ${schema}.sweep(p_most integer, p_now bigint) returns text ${OPTIONS} as $body$
  declare
    now_ms bigint := ${schema}.time_ms(p_now);
    over ${schema}.reservations[];
    reservation ${schema}.reservations;
    charge jsonb;
    account ${schema}.accounts;
    amount bigint;
    tokens_charged bigint;
    cost_charged bigint;
  begin
    -- Two processes that sweep at once share the work.
    select array_agg(reservation_over) into over from (
      select reservation_over from ${schema}.reservations as reservation_over
      left join ${schema}.owners on owners.owner = reservation_over.owner
      where reservation_over.state = 'open' and reservation_over.due_at <= now_ms
        and least(
          reservation_over.deadline,
          greatest(reservation_over.created_at + ${OWNER_LIFETIME_MS}, coalesce(owners.alive_until, 0))
        ) <= now_ms
      order by reservation_over.place limit p_most
      for update of reservation_over skip locked
    ) as in_order;
    if over is not null then
      perform ${schema}.lock_accounts(coalesce((
        select jsonb_agg(held.charge)
        from unnest(over) as each_one, jsonb_array_elements(each_one.charges) as held (charge)
        where held.charge ->> 'kind' = 'budget'
      ), '[]'));
      foreach reservation in array over loop
        tokens_charged := 0;
        cost_charged := 0;
        for charge in select * from jsonb_array_elements(reservation.charges) loop
          amount := (charge ->> 'amount')::bigint;
          if charge ->> 'kind' = 'slots' then
            delete from ${schema}.held_slots
            where held_slots.account = decode(charge ->> 'account', 'hex') and held_slots.reservation = reservation.id;
          elsif charge ->> 'kind' = 'budget' then
            select * into account from ${schema}.accounts as known where known.id = decode(charge ->> 'account', 'hex');
            perform ${schema}.save_account(
              ${schema}.budget_change(account, now_ms, (charge ->> 'keepMs')::bigint, amount, -amount)
            );
            cost_charged := greatest(cost_charged, amount);
          elsif charge ->> 'dimension' = 'tokens' then
            tokens_charged := greatest(tokens_charged, amount);
          end if;
        end loop;
        update ${schema}.reservations set state = 'expired', place = nextval('${schema}.places'),
          keep_until = now_ms + ${TOMBSTONE_MS}, tokens = tokens_charged, cost_nano_usd = cost_charged
        where id = reservation.id;
      end loop;
    end if;
    perform ${schema}.purge_reservations(now_ms, ${PURGED_BY_SWEEP});
    delete from ${schema}.accounts where id in (
      select id from ${schema}.accounts where purge_at <= now_ms and (kind <> 'budget' or reserved = 0)
      order by purge_at limit ${PURGED_BY_SWEEP} for update skip locked
    );
    delete from ${schema}.held_slots where (held_slots.account, held_slots.reservation) in (
      select old.account, old.reservation from ${schema}.held_slots as old where old.deadline <= now_ms - ${IDLE_GRACE_MS}
      order by old.deadline limit ${PURGED_BY_SWEEP} for update skip locked
    );
    delete from ${schema}.hints where id in (
      select id from ${schema}.hints where keep_until <= now_ms
      order by keep_until limit ${PURGED_BY_SWEEP} for update skip locked
    );
    return coalesce((
      select jsonb_agg(jsonb_build_object(
        'id', id, 'partition', partition, 'owner', owner, 'tokens', tokens, 'costNanoUsd', cost_nano_usd,
        'note', note
      ) order by place)
      from (
        select * from ${schema}.reservations where state = 'expired' and keep_until > now_ms order by place limit p_most
      ) as listed
    ), '[]')::text;
  end
  $body$`,

  // ── cooldown ──
  `create function ${schema}.cooldown(p_deployment text, p_kind text, p_remaining_ms bigint, p_now bigint)
  returns text ${OPTIONS} as $body$
  declare
    now_ms bigint;
    new_epoch bigint;
  begin
    select epoch into new_epoch from ${schema}.cooldown_epoch for update;
    now_ms := ${schema}.time_ms(p_now);
    delete from ${schema}.cooldowns where until <= now_ms;
    if p_remaining_ms > 0 then
      insert into ${schema}.cooldowns as known (deployment, place, kind, until)
      values (p_deployment, nextval('${schema}.places'), p_kind, now_ms + p_remaining_ms)
      on conflict (deployment) do update set kind = excluded.kind, until = excluded.until
        where known.until < excluded.until;
      if found then
        -- From the time, so that it differs from every earlier one also where the tables were emptied in between.
        new_epoch := greatest(new_epoch + 1, now_ms);
        update ${schema}.cooldown_epoch set epoch = new_epoch;
      end if;
    end if;
    return jsonb_build_object('cooldownEpoch', new_epoch)::text;
  end
  $body$`,

  `create function ${schema}.cooldowns(p_now bigint) returns text language plpgsql as $body$
  declare
    now_ms bigint := ${schema}.time_ms(p_now);
  begin
    return coalesce((
      select jsonb_agg(jsonb_build_object('deployment', deployment, 'kind', kind, 'remainingMs', until - now_ms) order by place)
      from ${schema}.cooldowns where until > now_ms
    ), '[]')::text;
  end
  $body$`,

  // ── budgets ──
  `create function ${schema}.budgets(p_ids text[], p_now bigint) returns text language plpgsql as $body$
  declare
    now_ms bigint := ${schema}.time_ms(p_now);
  begin
    return coalesce((
      select jsonb_agg(jsonb_build_array(
        coalesce(${schema}.budget_spent(account, now_ms), 0), coalesce(account.reserved, 0)
      ) order by asked.place)
      from unnest(p_ids) with ordinality as asked (id, place)
      left join ${schema}.accounts as account on account.id = decode(asked.id, 'hex')
    ), '[]')::text;
  end
  $body$`,
];
