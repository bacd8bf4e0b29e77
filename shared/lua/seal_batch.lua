-- seal_batch: accept a batch whose lines have been put down. A second time it changes nothing.
--
-- KEYS[1]  prefix
-- ARGV[1]  batch id
-- ARGV[2]  tenant
-- ARGV[3]  name
-- ARGV[4]  number of lines
-- ARGV[5]  seconds to keep it after its end
-- ARGV[6]  digest of the request's idempotency key; '' for none
-- ARGV[7]  fingerprint of the request
-- ARGV[8]  seconds to keep the idempotency key
--
-- Replies
--   OK batch how  new, known (this very id) or repeated (this idempotency key)
--   MISMATCH      the idempotency key came with another request before; nothing was accepted
--   GAP lines     only so many lines are there; nothing was accepted
--
-- Moves nothing

local MOST_TIDIED = 16

local batch, tenant, request = ARGV[1], ARGV[2], ARGV[6]
if redis.call('EXISTS', key.batch(batch)) == 1 then return {'OK', describe_batch(batch), 'known'} end
if request ~= '' then
  local before, is_same = recalled('batch', tenant, request, ARGV[7])
  if before and not is_same then return {'MISMATCH'} end
  if before then
    redis.call('DEL', key.lines(batch))
    return {'OK', describe_batch(before), 'repeated'}
  end
end
local kept = redis.call('LLEN', key.lines(batch))
if kept ~= tonumber(ARGV[4]) then return {'GAP', kept} end

-- Those that were kept long enough leave the list as others come.
for _, old in ipairs(redis.call('ZRANGE', key.batches(tenant), 0, MOST_TIDIED - 1)) do
  if redis.call('EXISTS', key.batch(old)) == 0 then redis.call('ZREM', key.batches(tenant), old) end
end

local now, sequence = now_ms(), redis.call('INCR', key.sequence)
redis.call('PERSIST', key.lines(batch))
redis.call('HSET', key.batch(batch), 'tenant', tenant, 'name', ARGV[3], 'total', ARGV[4], 'keep_s', ARGV[5],
  'status', 'running', 'created_at_ms', now)
if request ~= '' then
  redis.call('HSET', key.batch(batch), 'request', request)
  redis.call('DEL', key.request(tenant, request))
  redis.call('HSET', key.request(tenant, request), 'batch', batch, 'fingerprint', ARGV[7])
  redis.call('EXPIRE', key.request(tenant, request), ARGV[8])
end
redis.call('ZADD', key.batches(tenant), sequence, batch)
redis.call('ZADD', key.feeding, now, batch)
return {'OK', describe_batch(batch), 'new'}
