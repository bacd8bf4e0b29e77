-- submit: accept a job into its model's queue. A second time it changes nothing.
-- With: keys, record
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  tenant
-- ARGV[3]  model
-- ARGV[4]  params, JSON
-- ARGV[5]  metadata, JSON
-- ARGV[6]  number of images
-- ARGV[7]  denoising steps in all
-- ARGV[8]  most waiting jobs, of all models
-- ARGV[9]  seconds to keep the record after the job's end
--
-- Replies
--   OK job        accepted, now or before
--   FULL waiting  so many wait already; nothing was accepted
--   NOT_YOURS     another tenant has a job of this id
--
-- Moves (nothing) -> queued

local id, tenant, model = ARGV[1], ARGV[2], ARGV[3]

if redis.call('EXISTS', key.job(id)) == 1 then
  if ownership(id, tenant) ~= 'OK' then return {'NOT_YOURS'} end
  return {'OK', describe(id)}
end

local waiting = 0
for _, queue in ipairs(redis.call('SMEMBERS', key.queues)) do
  waiting = waiting + redis.call('ZCARD', key.waiting(queue))
end
if waiting >= tonumber(ARGV[8]) then return {'FULL', waiting} end

local sequence = redis.call('INCR', key.sequence)
redis.call('HSET', key.job(id),
  'tenant', tenant, 'model', model, 'params', ARGV[4], 'metadata', ARGV[5],
  'num_images', ARGV[6], 'steps', ARGV[7], 'keep_s', ARGV[9], 'sequence', sequence,
  'created_at_ms', now_ms(), 'attempt', 0, 'step', 0)
redis.call('ZADD', key.waiting(model), sequence, id)
redis.call('SADD', key.queues, model)
move(id, 'queued')

-- The tenant's index lives as long as a job is open. Two of its oldest entries are looked at for
-- each that comes, so that it does not grow with jobs long expired.
for _, old in ipairs(redis.call('ZRANGE', key.jobs(tenant), 0, 1)) do
  if redis.call('EXISTS', key.job(old)) == 0 then redis.call('ZREM', key.jobs(tenant), old) end
end
redis.call('ZADD', key.jobs(tenant), sequence, id)
redis.call('PERSIST', key.jobs(tenant))
redis.call('SADD', key.open(tenant), id)
return {'OK', describe(id)}
