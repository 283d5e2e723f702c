"""What Redis does with a pool, atomically (Lua, Redis 6.2 and later).

A pool is two hashes: KEYS[1] id -> candidate, and KEYS[2] id -> times served, with "" in the second
where the pool is complete. The random commands of Redis may not precede a write in a script before
Redis 7, so the client sends a seed.
"""

# Either hash may have been evicted without the other: counts of no candidates are none.
_DROP_STRAYS = """
local candidates, served = KEYS[1], KEYS[2]
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', candidates, served) end
end
if redis.call('EXISTS', candidates) == 0 then redis.call('DEL', served) end
"""

# ARGV: count, times served at which a candidate leaves, seed, capacity, share.
# Returns: KEYS[1], candidates before, candidates after, is complete, then the candidates drawn.
DRAW = (
    _DROP_STRAYS
    + """
local count, retire_after = tonumber(ARGV[1]), tonumber(ARGV[2])
math.randomseed(tonumber(ARGV[3]))
local ids = redis.call('HKEYS', candidates)
local is_complete = redis.call('HEXISTS', served, '')
local capacity, share = tonumber(ARGV[4]), tonumber(ARGV[5])
local limit = #ids
if is_complete == 0 and #ids < capacity then limit = math.floor(#ids / share) end
local drawn = {}
for i = 1, math.min(count, limit) do
  local j = math.random(i, #ids)
  ids[i], ids[j] = ids[j], ids[i]
  drawn[i] = redis.call('HGET', candidates, ids[i])
  if redis.call('HINCRBY', served, ids[i], 1) >= retire_after and is_complete == 0 then
    redis.call('HDEL', candidates, ids[i])
    redis.call('HDEL', served, ids[i])
  end
end
local ttl = redis.call('PTTL', candidates)
if ttl > 0 then redis.call('PEXPIRE', served, ttl) else redis.call('DEL', served) end
return {candidates, #ids, redis.call('HLEN', candidates), is_complete, unpack(drawn)}
"""
)

# ARGV: capacity, TTL in ms, times served already, is complete, is refresh, then id and candidate
# in turn.
ADD = (
    _DROP_STRAYS
    + """
local capacity, ttl, times_served = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local is_complete, is_refresh = ARGV[4] == '1', ARGV[5] == '1'
if is_refresh then redis.call('DEL', candidates, served) end
for i = 6, #ARGV, 2 do
  if redis.call('HLEN', candidates) < capacity
      and redis.call('HSETNX', candidates, ARGV[i], ARGV[i + 1]) == 1 then
    redis.call('HSET', served, ARGV[i], times_served)
  end
end
if redis.call('HLEN', candidates) == 0 then return redis.call('DEL', served) end
if is_complete then redis.call('HSET', served, '', 1) end
if redis.call('PTTL', candidates) < 0 then redis.call('PEXPIRE', candidates, ttl) end
return redis.call('PEXPIRE', served, redis.call('PTTL', candidates))
"""
)
