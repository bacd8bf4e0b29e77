-- A job's record: how it is read, whose it is, and the moves that several verbs share.
-- Stands on keys.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function field(id, name)
  return redis.call('HGET', key.job(id), name)
end

-- {id, place in its queue or -1, {field, value, ...}}
local function describe(id)
  local position = -1
  if field(id, 'status') == 'queued' then
    position = redis.call('ZRANK', key.waiting(field(id, 'model')), id)
  end
  return {id, position, redis.call('HGETALL', key.job(id))}
end

-- What a tenant may know: OK, MISSING (no such job) or NOT_YOURS.
local function ownership(id, tenant)
  local owner = field(id, 'tenant')
  if not owner then return 'MISSING' end
  return owner == tenant and 'OK' or 'NOT_YOURS'
end

-- What a lease is worth: OK, MISSING (no such job), CANCELED, ENDED (by this very lease) or
-- LOST (the job waits, or another works on it).
local function standing(id, token)
  local status = field(id, 'status')
  if not status then return 'MISSING' end
  if status == 'canceled' then return 'CANCELED' end
  if field(id, 'token') ~= token then return 'LOST' end
  return status == 'running' and 'OK' or 'ENDED'
end

-- Every move goes through here: it raises the version, by which readers know old news from new.
local function move(id, status)
  redis.call('HSET', key.job(id), 'status', status)
  redis.call('HINCRBY', key.job(id), 'version', 1)
end

-- running -> queued: back to its old place, which is in front of all that came later.
local function requeue(id)
  local record = redis.call('HMGET', key.job(id), 'model', 'sequence', 'steps', 'num_images')
  local model, sequence, steps, num_images = unpack(record)
  local kept = 0
  for index = 0, num_images - 1 do
    kept = kept + redis.call('HEXISTS', key.job(id), 'image:' .. index)
  end
  redis.call('ZREM', key.leases, id)
  redis.call('DEL', key.preview(id))
  redis.call('HDEL', key.job(id), 'token', 'worker')
  redis.call('HSET', key.job(id), 'step', kept * steps / num_images)
  redis.call('ZADD', key.waiting(model), sequence, id)
  redis.call('SADD', key.queues, model)
  move(id, 'queued')
end

-- queued or running -> succeeded, failed or canceled: the end, after which the record expires.
local function close(id, status)
  local tenant, model, keep_s = unpack(redis.call('HMGET', key.job(id), 'tenant', 'model', 'keep_s'))
  redis.call('ZREM', key.waiting(model), id)
  redis.call('ZREM', key.leases, id)
  redis.call('DEL', key.preview(id))
  redis.call('HSET', key.job(id), 'completed_at_ms', now_ms())
  move(id, status)
  redis.call('EXPIRE', key.job(id), keep_s)
  redis.call('SREM', key.open(tenant), id)
  if redis.call('EXISTS', key.open(tenant)) == 0 then
    redis.call('EXPIRE', key.jobs(tenant), keep_s)
  end
end
