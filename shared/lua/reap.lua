-- reap: take expired leases away, their attempts charged; end what is past its deadline; tell which models have jobs
-- waiting.
--
-- KEYS[1]  prefix
-- ARGV[1]  lease in ms
-- ARGV[2]  most attempts at a job
-- ARGV[3]  the error of a job that used them up, JSON
-- ARGV[4]  the error of a job whose deadline passed, JSON
--
-- Replies
--   OK requeued failed overdue models   ids, ids, ids, and the models that jobs wait for
--
-- Flags allow-oom
-- Moves running -> queued, failed, canceled; queued -> expired, failed

local MOST_AT_ONCE = 100 -- the rest is for the next sweep: Redis serves others meanwhile
local MENDED = 256

local now, lease_ms = now_ms(), tonumber(ARGV[1])
local last = tonumber(redis.call('GET', key.swept) or 0)
redis.call('SET', key.swept, now)

local requeued, failed, overdue, models = {}, {}, {}, {}

-- Sweeps come five times a lease from each of many. When none came for longer, Redis was away or its clock was set,
-- and nobody could renew: that time does not count, once for each lease that is not renewed since.
local gap = now - last
if gap < 0 or gap > 0.4 * lease_ms then
  for _, id in ipairs(redis.call('ZRANGE', key.leases, 0, -1)) do
    local ends = tonumber(redis.call('ZSCORE', key.leases, id))
    if redis.call('SADD', key.graced, id) == 1 then
      if gap < 0 or gap > lease_ms then ends = now + lease_ms else ends = ends + gap end
    end
    -- None ends later, whatever the clock said before.
    redis.call('ZADD', key.leases, math.min(ends, now + lease_ms), id)
  end
end

for _, id in ipairs(redis.call('ZRANGE', key.leases, '-inf', now, 'BYSCORE', 'LIMIT', 0, MOST_AT_ONCE)) do
  local attempt, worker, model = unpack(redis.call('HMGET', key.job(id), 'attempt', 'worker', 'model'))
  count(1, 'leases_expired', model)
  redis.call('HSET', key.job(id), 'lost:' .. attempt, worker)
  if tonumber(attempt) >= tonumber(ARGV[2]) then
    redis.call('HSET', key.job(id), 'error', ARGV[3])
    close(id, 'failed')
    redis.call('ZADD', key.set_aside, now, id)
    failed[#failed + 1] = id
  else
    requeue(id)
    requeued[#requeued + 1] = id
  end
end

for _, id in ipairs(redis.call('ZRANGE', key.deadlines, '-inf', now, 'BYSCORE', 'LIMIT', 0, MOST_AT_ONCE)) do
  redis.call('HSET', key.job(id), 'error', ARGV[4])
  close(id, field(id, 'status') == 'running' and 'canceled' or 'expired')
  overdue[#overdue + 1] = id
end

mend_stale(MENDED)

if not redis.call('HGET', key.modes, '*') then
  for _, model in ipairs(redis.call('SMEMBERS', key.models)) do
    local waits = false
    for _, lane in ipairs(LANES) do waits = waits or redis.call('EXISTS', key.heads(model, lane)) == 1 end
    waits = waits or redis.call('HEXISTS', key.lanes(model), 'beyond') == 1
    if waits then models[#models + 1] = model end
  end
end
return {'OK', requeued, failed, overdue, models}
