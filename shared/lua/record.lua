-- A job's record: how it is read, whose it is, and the moves that several verbs share.
-- Stands on keys, meters, work, fair, outbox.

-- Tell those who wait for the job, or follow it, to look; of a key or of limits, the gateways. shared/keys.py has the form
-- of a word. A user of Redis without the channel's rights tells nobody: they look anyway.
local function tell(kind, id, tenant)
  redis.pcall('PUBLISH', key.changes, kind .. ':' .. id .. ':' .. tenant)
end

-- The job has changed in a way that its tenant must not miss: it becomes the last of the tenant's changed jobs.
local function note_change(id, tenant)
  redis.call('ZADD', key.changed(tenant), redis.call('INCR', key.change), id)
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

-- How a job stands: its place among the waiting or -1, jobs ahead in its lane, their ms of work, what holds it or ''; its
-- denoising step, which is the other's for a job that waits for another's pictures.
local function stand_of(id)
  local status, tenant, follows, most, step = unpack(redis.call('HMGET', key.job(id),
    'status', 'tenant', 'follows', 'max_running', 'step'))
  local held = ''
  if follows then
    held = 'joined'
    status, step = unpack(redis.call('HMGET', key.job(follows), 'status', 'step'))
  elseif status == 'queued' and is_at_limit(tenant, tonumber(most)) then
    held = 'running_limit'
  end
  if status ~= 'queued' then return -1, 0, 0, held, step end
  local place, jobs, work = ahead_of(spot_of(follows or id))
  return place, jobs, work, held, step
end

-- {id, place among the waiting or -1, jobs ahead in its lane, their ms of work, what holds it or '', {field, value, ...}}
local function describe(id)
  local fields = redis.call('HGETALL', key.job(id))
  local place, jobs, work, held, step = stand_of(id)
  if held == 'joined' then
    fields[#fields + 1] = 'step'
    fields[#fields + 1] = step
  end
  return {id, place, jobs, work, held, fields}
end

-- Whose a job is; nil if there is none, or only what is left of one that was erased with its batch.
local function owner_of(id)
  local owner, batch = unpack(redis.call('HMGET', key.job(id), 'tenant', 'batch'))
  if batch and redis.call('ZSCORE', key.erasing, batch) then return nil end
  return owner or nil
end

-- What a tenant may know: OK, MISSING (no such job) or NOT_YOURS.
local function ownership(id, tenant)
  local owner = owner_of(id)
  if not owner then return 'MISSING' end
  return owner == tenant and 'OK' or 'NOT_YOURS'
end

-- What an idempotency key made, a 'job' or a 'batch', and whether the key came with this body then; nil if there is none.
-- Whoever is told of it knows of it from now on, so it is not withdrawn any more.
local function recalled(kind, tenant, request, fingerprint)
  local before, known = unpack(redis.call('HMGET', key.request(tenant, request), kind, 'fingerprint'))
  if not before or redis.call('EXISTS', key[kind](before)) == 0 then return nil end
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
  local tenant = field(id, 'tenant')
  redis.call('HSET', key.job(id), 'status', status)
  redis.call('HINCRBY', key.job(id), 'version', 1)
  note_change(id, tenant)
  tell('move', id, tenant)
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
  redis.call('HSET', key.job(id), 'step', kept * steps / num_images, 'queued_at_ms', now_ms())
  local spot = spot_of(id)
  charge_lane(spot, -1)
  put(spot)
  end_lease(id, tenant)
  move(id, 'queued')
end

-- What is counted of ended jobs, in periods of so many seconds, each kept for so many.
local HISTORY = {{period_s = 60, keep_s = 3 * 3600}, {period_s = 600, keep_s = 48 * 3600}}
local MOST_FAILED = 1000

-- In which class a time is: four to a doubling, so that medians can be told from a few counts.
local function class_of(ms)
  return math.floor(4 * math.log(math.max(1, ms)) / math.log(2))
end

-- A job has ended: operators are told how many do so how, after what time, and which fail.
local function count_end(id, status, now)
  local lane, num_images, created, began, root, model, why = unpack(redis.call('HMGET', key.job(id),
    'lane', 'num_images', 'created_at_ms', 'started_at_ms', 'pictures_of', 'model', 'error'))
  local how = root and 'reused' or status
  local code = status ~= 'succeeded' and why and string.match(why, '"code":"([%w_]+)"') or ''
  count(1, 'jobs_ended', lane, how, code, model)
  count(num_images, 'pictures', lane, how, model)
  if began and not root then
    count_time(began - created, 'job_waited_seconds', lane, model)
    if status == 'succeeded' then count_time(now - began, 'job_drew_seconds', lane, model) end
  end
  local outcome = lane .. ':' .. how
  for _, kept in ipairs(HISTORY) do
    local period = key.history(kept.period_s, math.floor(now / 1000 / kept.period_s))
    redis.call('HINCRBY', period, outcome .. ':jobs', 1)
    redis.call('HINCRBY', period, outcome .. ':pictures', num_images)
    if began and not root then
      redis.call('HINCRBY', period, lane .. ':waited:' .. class_of(began - created), 1)
      if status == 'succeeded' then redis.call('HINCRBY', period, lane .. ':drew:' .. class_of(now - began), 1) end
    end
    redis.call('EXPIRE', period, kept.keep_s)
  end
  if status == 'failed' then
    redis.call('ZADD', key.failed, now, id)
    redis.call('ZREMRANGEBYRANK', key.failed, 0, -MOST_FAILED - 1)
  end
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

-- What a tenant may know of a batch: OK, MISSING (none of this id) or NOT_YOURS.
local function whose_batch(batch, tenant)
  local owner = redis.call('HGET', key.batch(batch), 'tenant')
  if not owner then return 'MISSING' end
  return owner == tenant and 'OK' or 'NOT_YOURS'
end

-- {id, lines that are jobs by now, those of them that have not ended, {field, value, ...}}
local function describe_batch(batch)
  return {batch, redis.call('LLEN', key.line_jobs(batch)), redis.call('SCARD', key.unended(batch)),
    redis.call('HGETALL', key.batch(batch))}
end

-- running -> ended, canceled: it is kept for a while from now on.
local function close_batch(batch, status)
  local now = now_ms()
  redis.call('HSET', key.batch(batch), 'status', status, 'completed_at_ms', now)
  redis.call('ZREM', key.feeding, batch)
  local tenant, keep_s = unpack(redis.call('HMGET', key.batch(batch), 'tenant', 'keep_s'))
  tell('batch', batch, tenant)
  post_end(tenant, {batch = batch}, 'batch.ended', now)
  for _, name in ipairs({key.batch(batch), key.lines(batch), key.line_jobs(batch)}) do
    redis.call('EXPIRE', name, keep_s)
  end
end

-- A line has become a job.
local function enter_batch(id, batch, line)
  redis.call('HSET', key.job(id), 'batch', batch, 'line', line)
  redis.call('RPUSH', key.line_jobs(batch), id)
  redis.call('SADD', key.unended(batch), id)
  if line == redis.call('HGET', key.batch(batch), 'total') then redis.call('ZREM', key.feeding, batch) end
end

-- A job has ended: its batch counts it, and ends with its last one.
local function leave_batch(id, batch, status)
  if redis.call('SREM', key.unended(batch), id) == 0 then return end
  redis.call('HINCRBY', key.batch(batch), status, 1)
  local total, stands = unpack(redis.call('HMGET', key.batch(batch), 'total', 'status'))
  if stands == 'running' and redis.call('SCARD', key.unended(batch)) == 0
      and redis.call('LLEN', key.line_jobs(batch)) == tonumber(total) then
    close_batch(batch, 'ended')
  end
end

-- End a batch's jobs that have not ended: never more than a gateway lets enter at a time. The last ones first, for whoever
-- leaves the fair order moves all that stand behind.
local function cancel_jobs_of(batch)
  local ids, lines = redis.call('SMEMBERS', key.unended(batch)), {}
  for _, id in ipairs(ids) do lines[id] = tonumber(field(id, 'line')) end
  table.sort(ids, function(one, other) return lines[one] > lines[other] end)
  for _, id in ipairs(ids) do
    local status = field(id, 'status') -- one may have ended with another that it waited for
    if status == 'queued' or status == 'running' then close(id, 'canceled') end
  end
end

-- running -> canceled, with its unended jobs and the lines that are no jobs yet; one that has ended stays as it is.
local function cancel_batch(batch)
  local status, total = unpack(redis.call('HMGET', key.batch(batch), 'status', 'total'))
  if status ~= 'running' then return end
  close_batch(batch, 'canceled') -- first, so that its last job's end is not the batch's
  cancel_jobs_of(batch)
  redis.call('HINCRBY', key.batch(batch), 'canceled', total - redis.call('LLEN', key.line_jobs(batch)))
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
  count_end(id, status, now)
  move(id, status)
  post_end(tenant, {job = id}, 'job.' .. status, now)
  local batch = field(id, 'batch')
  if batch then leave_batch(id, batch, status) end
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
  tell('gone', id, tenant)
  redis.call('ZREM', key.jobs(tenant), id)
  redis.call('ZREM', key.changed(tenant), id)
  redis.call('ZREM', key.expiry, id)
  redis.call('ZREM', key.set_aside, id)
  redis.call('ZREM', key.failed, id)
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

-- Forget a job, canceled first if it has not ended. Its objects' keys; they are deleted again after `late_ms`, unless the
-- job succeeded at its first attempt and so has had all of its uploads.
local function erase_job(id, late_ms)
  local status, began, attempt = unpack(redis.call('HMGET', key.job(id), 'status', 'started_at_ms', 'attempt'))
  if status == 'queued' or status == 'running' then close(id, 'canceled') end
  local may_come_late = began and (status ~= 'succeeded' or tonumber(attempt) > 1)
  return forget(id, may_come_late and late_ms or 0)
end

-- Forget a batch, canceled first if it goes on: from now on nobody sees it, nor its jobs. Of these a page at a time is
-- forgotten by `forget_batch`: thousands at once would keep Redis from everybody else.
local function erase_batch(batch, tenant)
  local MOST_WORDS = 1000 -- of one command: Lua's stack has an end
  cancel_batch(batch)
  local ids = redis.call('LRANGE', key.line_jobs(batch), 0, -1)
  for first = 1, #ids, MOST_WORDS do
    local last = math.min(first + MOST_WORDS - 1, #ids)
    for _, list in ipairs({key.jobs(tenant), key.changed(tenant), key.set_aside, key.failed}) do
      redis.call('ZREM', list, unpack(ids, first, last))
    end
  end
  if #ids > 0 then
    redis.call('PERSIST', key.line_jobs(batch))
    redis.call('ZADD', key.erasing, now_ms(), batch)
  end
  local request = redis.call('HGET', key.batch(batch), 'request')
  if request and redis.call('HGET', key.request(tenant, request), 'batch') == batch then
    redis.call('DEL', key.request(tenant, request))
  end
  redis.call('ZREM', key.batches(tenant), batch)
  redis.call('UNLINK', key.batch(batch), key.lines(batch), key.unended(batch))
  tell('batch', batch, tenant)
end
