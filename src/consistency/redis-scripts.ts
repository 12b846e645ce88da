// What Redis does by itself, in one step, for the keyed watermarks: the scripts, and how their keys and answers look.
// It opens no connection. Why it is enough is told in src/ARCHITECTURE.md, "Keys over several proxies".

/** Between the fields of a value; no name of a node and no position has it in it. */
export const SEPARATOR = '\x1f';

export interface RedisKeys {
  /** The name of this life of the data: gone when it has been emptied. */
  readonly life: string;
  /** Member to its lease: instance, end (the server's time, ms), replication id that it holds under. */
  readonly members: string;
  /** Member to the position that covers all that it ever let its clients see without recording it. */
  readonly base: string;
  readonly key: (key: string) => string;
}

/** All keys of a cluster are in one slot of a Redis Cluster: every script sees leases and watermarks at one moment. */
export function redisKeys(prefix: string, cluster: string): RedisKeys {
  const head = `${prefix}:{${cluster.replaceAll('}', ')')}}`;
  return {
    life: `${head}:life`,
    members: `${head}:members`,
    base: `${head}:base`,
    key: (key) => `${head}:k:${key}`,
  };
}

/** `identity`: this life under this replication id, which a server gets anew when it restarts or is made a master. */
const PRELUDE = `
local info = redis.call('INFO', 'replication')
local role = string.match(info, 'role:(%w+)')
local replid = string.match(info, 'master_replid:(%w+)')
local life = redis.call('GET', KEYS[1]) or ''
local identity = life .. ':' .. replid
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function lease(text)
  local instance, ends, under = string.match(text, '^(.-)\\31(%d+)\\31(.*)$')
  return instance, tonumber(ends or '0'), under
end
`;

/** KEYS: life. ARGV: the name of a life, should there be none. -> what, identity, time. */
export const HELLO = `${PRELUDE}
if role ~= 'master' then return {'replica'} end
local memory = redis.call('INFO', 'memory')
local limit = string.match(memory, 'maxmemory:(%d+)')
local policy = string.match(memory, 'maxmemory_policy:([%w-]+)')
if limit ~= '0' and policy ~= 'noeviction' then return {'evicts', policy} end
if life == '' then
  redis.call('SET', KEYS[1], ARGV[1])
  identity = ARGV[1] .. ':' .. replid
end
return {'ok', identity, string.format('%.0f', now)}
`;

/**
 * Joins, or renews the lease. KEYS: life, members, base. ARGV: identity, member, instance, end of the lease, base ('': as it is),
 * members that must be there. -> what, time, then member, 1 or 0 (it has a lease) for each.
 */
export const LEASE = `${PRELUDE}
if role ~= 'master' then return {'replica'} end
if identity ~= ARGV[1] then return {'foreign', identity} end
-- What was long on its way must not undo what came after it.
if tonumber(ARGV[4]) <= now then return {'late'} end
local mine = redis.call('HGET', KEYS[2], ARGV[2])
if mine then
  local instance, ends, under = lease(mine)
  if instance ~= ARGV[3] and under == replid and ends > now then return {'taken'} end
  if instance ~= ARGV[3] and ARGV[5] == '' then return {'taken'} end
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[3], ARGV[2], ARGV[5]) end
for i = 6, #ARGV do redis.call('HSETNX', KEYS[2], ARGV[i], 'gone\\0310\\031-') end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3] .. '\\31' .. ARGV[4] .. '\\31' .. replid)
local answer = {mine and 'ok' or 'new', string.format('%.0f', now)}
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local instance, ends, under = lease(all[i + 1])
  answer[#answer + 1] = all[i]
  answer[#answer + 1] = (under == replid and ends > now) and '1' or '0'
end
return answer
`;

/** KEYS: members. ARGV: member, instance. */
export const LEAVE = `
local mine = redis.call('HGET', KEYS[1], ARGV[1])
if mine and string.match(mine, '^(.-)\\31') == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return {'ok'}
`;

/**
 * KEYS: life, members, base, then keys. ARGV: identity, member. -> 'ok', the bases, then for each key the values of the other
 * members, with '' where there is nothing at all.
 */
export const READ = `${PRELUDE}
if role ~= 'master' or identity ~= ARGV[1] then return {'foreign'} end
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local instance, ends, under = lease(all[i + 1])
  if under ~= replid or ends <= now then return {'missing', all[i]} end
end
local answer = {'ok', redis.call('HVALS', KEYS[3])}
for i = 4, #KEYS do
  local entry = redis.call('HGETALL', KEYS[i])
  local values = {}
  if #entry == 0 then values[1] = '' end
  for j = 1, #entry, 2 do
    if entry[j] ~= ARGV[2] then values[#values + 1] = entry[j + 1] end
  end
  answer[#answer + 1] = values
end
return answer
`;

/**
 * KEYS: life, members, then keys. ARGV: identity, member, instance, time to live in ms, then sequence and position for each key. A
 * script that was long on its way does not undo a later one.
 */
export const WRITE = `${PRELUDE}
if role ~= 'master' or identity ~= ARGV[1] then return {'foreign'} end
local mine = redis.call('HGET', KEYS[2], ARGV[2])
if not mine or string.match(mine, '^(.-)\\31') ~= ARGV[3] then return {'foreign'} end
for i = 3, #KEYS do
  local seq = ARGV[2 * i - 1]
  local before = redis.call('HGET', KEYS[i], ARGV[2])
  local instance, last = nil, nil
  if before then instance, last = string.match(before, '^(.-)\\31(%d+)\\31') end
  if instance ~= ARGV[3] or tonumber(last) < tonumber(seq) then
    redis.call('HSET', KEYS[i], ARGV[2], ARGV[3] .. '\\31' .. seq .. '\\31' .. ARGV[2 * i])
  end
  redis.call('PEXPIRE', KEYS[i], ARGV[4])
end
return {'ok'}
`;
