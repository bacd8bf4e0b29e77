-- A job's record: how it is read, whose it is, and the moves that several verbs share.
-- Stands on keys, work, fair.

-- Tell those who wait for the job to look. A user of Redis without the channel's rights tells nobody: they look anyway.
local function tell(id)
  redis.pcall('PUBLISH', key.changes, id)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function field(id, name)
  return redis.call('HGET', key.job(id), name)
end

-- True while a tenant has as many jobs running as it may.
local function is_at_limit(tenant, most)
  return most > 0 and redis.call('SCARD', key.running(tenant)) >= most
end

-- {id, place among the waiting or -1, jobs ahead in its lane, their ms of work, what holds it or '', {field, value, ...}}
local function describe(id)
  local fields = redis.call('HGETALL', key.job(id))
  local status, tenant, follows, most = unpack(redis.call('HMGET', key.job(id),
    'status', 'tenant', 'follows', 'max_running'))
  local held, drawn = '', id
  if follows then
    held, drawn = 'joined', follows
    fields[#fields + 1] = 'step'
    fields[#fields + 1] = field(follows, 'step')
  elseif status == 'queued' and is_at_limit(tenant, tonumber(most)) then
    held = 'running_limit'
  end
  if field(drawn, 'status') ~= 'queued' then return {id, -1, 0, 0, held, fields} end
  local place, jobs, work = ahead_of(spot_of(drawn))
  return {id, place, jobs, work, held, fields}
end

-- What a tenant may know: OK, MISSING (no such job) or NOT_YOURS.
local function ownership(id, tenant)
  local owner = field(id, 'tenant')
  if not owner then return 'MISSING' end
  return owner == tenant and 'OK' or 'NOT_YOURS'
end

-- The job of an idempotency key, and whether the key came with this body then; nil if it has none. Whoever is told of
-- it knows of the job from now on, so `withdraw` keeps it.
local function recalled(tenant, request, fingerprint)
  local before, known = unpack(redis.call('HMGET', key.request(tenant, request), 'job', 'fingerprint'))
  if not before or redis.call('EXISTS', key.job(before)) == 0 then return nil end
  if known ~= fingerprint then return before, false end
  redis.call('HSET', key.request(tenant, request), 'repeated', 1)
  return before, true
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

-- Every move goes through here: it raises the version, by which readers know old news from new, and tells those who wait.
local function move(id, status)
  redis.call('HSET', key.job(id), 'status', status)
  redis.call('HINCRBY', key.job(id), 'version', 1)
  tell(id)
end

-- Nobody works on it any more.
local function end_lease(id, tenant)
  redis.call('ZREM', key.leases, id)
  redis.call('SREM', key.graced, id)
  redis.call('DEL', key.preview(id))
  redis.call('SREM', key.running(tenant), id)
  unpark(tenant)
end

-- running -> queued: back under its old tag, which is in front of all that began later.
local function requeue(id)
  local tenant, steps, num_images = unpack(redis.call('HMGET', key.job(id), 'tenant', 'steps', 'num_images'))
  local kept = 0
  for index = 0, num_images - 1 do
    kept = kept + redis.call('HEXISTS', key.job(id), 'image:' .. index)
  end
  redis.call('HDEL', key.job(id), 'token', 'worker')
  redis.call('HSET', key.job(id), 'step', kept * steps / num_images)
  local spot = spot_of(id)
  charge_lane(spot, -1)
  put(spot)
  end_lease(id, tenant)
  move(id, 'queued')
end

local close -- which calls itself for a job's followers, who have none

-- The pictures of `source` are this job's too.
local function take_pictures(id, source)
  local root = field(source, 'pictures_of') or source
  redis.call('HSET', key.job(id), 'pictures', field(source, 'pictures'), 'pictures_of', root,
    'step', field(source, 'steps'))
  for index = 0, field(source, 'num_images') - 1 do
    local name = 'image:' .. index
    redis.call('HSET', key.job(id), name, field(source, name))
  end
  local fields = redis.call('HGETALL', key.job(source))
  for at = 1, #fields, 2 do
    if fields[at] == 'reading' or string.find(fields[at], '^warning:') then
      redis.call('HSET', key.job(id), fields[at], fields[at + 1])
    end
  end
  redis.call('SADD', key.holders(root), root, id)
end

-- Wait for the pictures of `source`.
local function follow(id, source)
  redis.call('HSET', key.job(id), 'follows', source)
  redis.call('ZADD', key.followers(source), field(id, 'sequence'), id)
end

-- The jobs that waited for this one's pictures get them, or fail with it; if it was only called off, the first of them
-- is queued instead.
local function dismiss_followers(id, status)
  local followers = redis.call('ZRANGE', key.followers(id), 0, -1)
  redis.call('DEL', key.followers(id))
  if status == 'succeeded' then
    for _, follower in ipairs(followers) do
      redis.call('HDEL', key.job(follower), 'follows')
      redis.call('HSETNX', key.job(follower), 'started_at_ms', now_ms())
      take_pictures(follower, id)
      close(follower, 'succeeded')
    end
    return
  end
  if status == 'failed' then
    -- It would fail them as well, and if it killed its workers, kill more.
    for _, follower in ipairs(followers) do
      redis.call('HSET', key.job(follower), 'error', field(id, 'error'))
      close(follower, 'failed')
    end
    return
  end
  local first = followers[1]
  if not first then return end
  for _, one in ipairs(followers) do
    if field(one, 'lane') == 'interactive' then
      first = one -- or it would wait in the bulk lane
      break
    end
  end
  redis.call('HDEL', key.job(first), 'follows')
  enqueue(first)
  local tenant, digest = unpack(redis.call('HMGET', key.job(first), 'tenant', 'result'))
  redis.call('SET', key.result(tenant, digest), first)
  for _, one in ipairs(followers) do
    if one ~= first then follow(one, first) end
  end
end

-- queued or running -> succeeded, failed, canceled or expired: the end, after which the record is kept for a while.
function close(id, status)
  local before, tenant, follows, result, keep_s = unpack(redis.call('HMGET', key.job(id),
    'status', 'tenant', 'follows', 'result', 'keep_s'))
  if before == 'running' then
    end_lease(id, tenant)
  elseif follows then
    redis.call('ZREM', key.followers(follows), id)
    redis.call('HDEL', key.job(id), 'follows')
  elseif before == 'queued' and field(id, 'tag') then
    take_out(spot_of(id))
  end
  local now = now_ms()
  redis.call('ZREM', key.deadlines, id)
  redis.call('ZADD', key.expiry, now + keep_s * 1000, id)
  redis.call('HSET', key.job(id), 'completed_at_ms', now)
  move(id, status)
  if result and status ~= 'succeeded' and redis.call('GET', key.result(tenant, result)) == id then
    redis.call('DEL', key.result(tenant, result))
  end
  dismiss_followers(id, status)
end

-- Forget an ended job. Its pictures are put on the list of objects to delete unless another job shows them too, after
-- `delay_ms` more if a worker may still be uploading one. Their keys.
local function forget(id, delay_ms)
  local tenant, result, request, root, pictures, num_images = unpack(redis.call('HMGET', key.job(id),
    'tenant', 'result', 'request', 'pictures_of', 'pictures', 'num_images'))
  redis.call('DEL', key.job(id))
  tell(id)
  redis.call('ZREM', key.jobs(tenant), id)
  redis.call('ZREM', key.expiry, id)
  redis.call('ZREM', key.set_aside, id)
  if result and redis.call('GET', key.result(tenant, result)) == id then
    redis.call('DEL', key.result(tenant, result))
  end
  if request and redis.call('HGET', key.request(tenant, request), 'job') == id then
    redis.call('DEL', key.request(tenant, request))
  end
  local drawer = root or id
  local holders = key.holders(drawer)
  if redis.call('SREM', holders, id) == 1 then
    local left = redis.call('SCARD', holders)
    if left == 1 and redis.call('SISMEMBER', holders, drawer) == 1 then redis.call('DEL', holders) end
    if left > 0 then return {} end
  end
  local objects, at = {}, now_ms() + delay_ms
  for index = 0, num_images - 1 do
    objects[#objects + 1] = (string.gsub(pictures, '{}', index))
    redis.call('ZADD', key.trash, at, objects[#objects])
  end
  return objects
end
