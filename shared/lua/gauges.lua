-- gauges: tell how much waits and runs of all models, what is still to be done, and all that was counted.
--
-- KEYS[1]  prefix
-- ARGV[1]  ms after its last word when a courier counts as gone
--
-- Replies
--   OK waiting running figures meters   model, lane, jobs, ms of work, ms since the oldest one's submit, for each order;
--                                 model, lane, jobs; pairs of name and number; pairs of field and count
--
-- Flags no-writes
-- Moves nothing

local MOST_LOOKS = 1000 -- from each end of a lane's heads: of more tenants than that not all are looked at

local now = now_ms()

-- How long the oldest of those waits that may begin: the first of a line came before the rest of it, and members sort by
-- arrival; or of those that a newer worker may begin.
local function oldest_of(model, lane)
  local heads, oldest = key.heads(model, lane), nil
  for _, range in ipairs({{0, MOST_LOOKS - 1}, {-MOST_LOOKS, -1}}) do
    for _, member in ipairs(redis.call('ZRANGE', heads, range[1], range[2])) do
      if not oldest or member < oldest then oldest = member end
    end
  end
  local waited = oldest and now - field(id_in(oldest), 'created_at_ms') or 0
  return math.max(0, waited, oldest_beyond(model, lane, MOST_LOOKS, now))
end

local waiting, running, counted = {}, {}, {}
for _, model in ipairs(redis.call('SMEMBERS', key.models)) do
  for _, lane in ipairs(LANES) do
    local work = 0
    for _, ms in ipairs(nodes(key.work(model, lane), LEVELS - 1, 0, RADIX)) do work = work + ms end
    waiting[#waiting + 1] = {model, lane, redis.call('ZCARD', key.order(model, lane)), work,
      oldest_of(model, lane)}
    counted[lane .. ':' .. model] = {model, lane, 0}
    running[#running + 1] = counted[lane .. ':' .. model]
  end
end
for _, id in ipairs(redis.call('ZRANGE', key.leases, 0, -1)) do
  local model, lane = unpack(redis.call('HMGET', key.job(id), 'model', 'lane'))
  local entry = counted[(lane or '') .. ':' .. (model or '')]
  if entry then entry[3] = entry[3] + 1 end
end

local function due(name) return redis.call('ZCOUNT', name, '-inf', now) end

local figures = {
  'jobs_set_aside', redis.call('ZCARD', key.set_aside),
  'batches_feeding', redis.call('ZCARD', key.feeding),
  'webhooks_due', due(key.outbox),
  'jobs_to_forget', due(key.expiry),
  'objects_to_delete', due(key.trash),
  'couriers', redis.call('ZCOUNT', key.couriers, now - ARGV[1], '+inf'),
}
return {'OK', waiting, running, figures, redis.call('HGETALL', key.meters)}
