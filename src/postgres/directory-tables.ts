/** Keys are known by digests only: who reads these tables finds nothing to call with. */
export const directoryTables = (schema: string): readonly string[] => [
  `create table ${schema}.directory (
    level text collate "C" not null check (level in ('organization', 'team', 'user', 'key')),
    id text collate "C" not null,
    version bigint not null,
    organization_id text collate "C",
    user_id text collate "C",
    team_ids text[] collate "C" not null,
    -- As it was stored, to the letter; the columns before are for finding it.
    entry json not null,
    primary key (level, id)
  )`,
  `create index directory_by_organization on ${schema}.directory (level, organization_id, id) where organization_id is not null`,
  `create index directory_by_user on ${schema}.directory (level, user_id, id) where user_id is not null`,
  `create index directory_by_team on ${schema}.directory using gin (team_ids)`,
  // The digest of now and the one before, of every key: no two keys have one in common.
  `create table ${schema}.directory_digests (
    digest text collate "C" primary key,
    key_id text collate "C" not null
  )`,
  `create index directory_digests_by_key on ${schema}.directory_digests (key_id)`,
  `create function ${schema}.put_directory_entry(
    p_level text, p_id text, p_version bigint, p_replaced bigint, p_organization_id text, p_user_id text,
    p_team_ids text[], p_digests text[], p_entry json
  ) returns text language plpgsql set lock_timeout = '2s' as $body$
  begin
    if p_replaced is null then
      insert into ${schema}.directory (level, id, version, organization_id, user_id, team_ids, entry)
      values (p_level, p_id, p_version, p_organization_id, p_user_id, p_team_ids, p_entry)
      on conflict do nothing;
    else
      update ${schema}.directory set version = p_version, organization_id = p_organization_id, user_id = p_user_id,
        team_ids = p_team_ids, entry = p_entry
      where level = p_level and id = p_id and version = p_replaced;
    end if;
    if not found then
      return 'false';
    end if;
    if p_level = 'key' then
      delete from ${schema}.directory_digests where key_id = p_id and digest <> all (p_digests);
      insert into ${schema}.directory_digests (digest, key_id)
      select distinct digest, p_id from unnest(p_digests) as digest order by digest on conflict do nothing;
      if exists (select from ${schema}.directory_digests where digest = any (p_digests) and key_id <> p_id) then
        -- Leaves through the handler, which undoes what is above.
        raise exception 'the digest is taken' using errcode = 'LSW01';
      end if;
    end if;
    return 'true';
  exception when sqlstate 'LSW01' then
    return 'false';
  end
  $body$`,
];
