-- reap: take expired leases away, their attempts charged, and tell which models have jobs waiting.
-- With: keys, record
--
-- KEYS[1]  prefix
-- ARGV[1]  lease in ms
-- ARGV[2]  most attempts at a job
-- ARGV[3]  the error of a job that used them up, JSON
--
-- Replies
--   OK requeued failed models   ids, ids, and the models that jobs wait for
--
-- Moves running -> queued, failed

local MOST_AT_ONCE = 100 -- the rest is for the next sweep: Redis serves others meanwhile

local now, lease_ms = now_ms(), tonumber(ARGV[1])
local last = tonumber(redis.call('GET', key.swept) or 0)
redis.call('SET', key.swept, now)

local requeued, failed = {}, {}
if now - last > lease_ms then
  -- Nobody swept for longer than a lease: Redis was away, and nobody could renew either.
  for _, id in ipairs(redis.call('ZRANGE', key.leases, '-inf', now + lease_ms, 'BYSCORE')) do
    redis.call('ZADD', key.leases, now + lease_ms, id)
  end
else
  for _, id in ipairs(redis.call('ZRANGE', key.leases, '-inf', now, 'BYSCORE', 'LIMIT', 0, MOST_AT_ONCE)) do
    if tonumber(field(id, 'attempt')) >= tonumber(ARGV[2]) then
      redis.call('HSET', key.job(id), 'error', ARGV[3])
      close(id, 'failed')
      failed[#failed + 1] = id
    else
      requeue(id)
      requeued[#requeued + 1] = id
    end
  end
end

local models = {}
for _, model in ipairs(redis.call('SMEMBERS', key.queues)) do
  if redis.call('EXISTS', key.waiting(model)) == 1 then
    models[#models + 1] = model
  else
    redis.call('SREM', key.queues, model)
  end
end
return {'OK', requeued, failed, models}
