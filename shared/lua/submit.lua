-- submit: accept a job into its model's queue. A second time it changes nothing.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  tenant
-- ARGV[3]  model
-- ARGV[4]  lane: interactive or bulk
-- ARGV[5]  params, JSON
-- ARGV[6]  metadata, JSON
-- ARGV[7]  number of images
-- ARGV[8]  denoising steps in all
-- ARGV[9]  width: cost / weight, a whole number
-- ARGV[10]  expected work in ms
-- ARGV[11]  object keys of the pictures, {} for the index
-- ARGV[12]  ms after which it is canceled unless it has ended; '' for never
-- ARGV[13]  the job that this is another try of; '' for none
-- ARGV[14]  seconds to keep the record after the job's end
-- ARGV[15]  percent of the work that the bulk lane gets
-- ARGV[16]  most waiting jobs, of everybody
-- ARGV[17]  most waiting jobs of the tenant
-- ARGV[18]  most running jobs of the tenant; 0 for any number
-- ARGV[19]  digest of the request's idempotency key; '' for none
-- ARGV[20]  fingerprint of the request's body
-- ARGV[21]  seconds to keep the idempotency key
-- ARGV[22]  digest of what decides the pictures, by which another job's can be taken; '' for none of that
-- ARGV[23]  the queue of wake-ups for the model's workers
-- ARGV[24]  id of the request that made the job; '' if none did
-- ARGV[25]  the contract that a worker must know to draw it right
-- ARGV[26]  from where spans about it go on, as a traceparent; '' if it is not traced
-- ARGV[27]  1 if another of the model's pools may draw it too, else 0
-- ARGV[28]  the batch whose line this is; '' for none
-- ARGV[29]  which of its lines, from 1
--
-- Replies
--   NEW at place jobs work held called workers  it was accepted into the queue: when, in ms; how it stands, as `describe`
--                 says it; how many wake-ups wait, and how many workers there are, of all models
--   OK job how    known (this very id), repeated (this idempotency key), joined (a job that is under way draws the same
--                 pictures) or reused (one that has ended drew them)
--   MISMATCH      the idempotency key came with another body before; nothing was accepted
--   FULL waiting  so many wait already; nothing was accepted
--   TENANT_FULL waiting  so many of the tenant's wait already; nothing was accepted
--   NOT_YOURS     another tenant has a job of this id
--   PASSED        this is not the next line of a batch that goes on: it has a job, or will never have one
--
-- Moves (nothing) -> queued, succeeded

local id, tenant, model, lane = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local request, result = ARGV[19], ARGV[22]
local wake_ups, asked, needs, trace = ARGV[23], ARGV[24], ARGV[25], ARGV[26]
local roams, batch, line = ARGV[27], ARGV[28], ARGV[29]
local MOST_FOLLOWERS = 100

if redis.call('EXISTS', key.job(id)) == 1 then
  if ownership(id, tenant) ~= 'OK' then return {'NOT_YOURS'} end
  return {'OK', describe(id), 'known'}
end

if batch ~= '' then
  local owner, stands, total = unpack(redis.call('HMGET', key.batch(batch), 'tenant', 'status', 'total'))
  local goes_on = owner == tenant and stands == 'running' and tonumber(line) <= tonumber(total)
  if not goes_on or redis.call('LLEN', key.line_jobs(batch)) ~= line - 1 then return {'PASSED'} end
end

if request ~= '' then
  local before, is_same = recalled('job', tenant, request, ARGV[20])
  if before and not is_same then return {'MISMATCH'} end
  if before then return {'OK', describe(before), 'repeated'} end
end

local source, reuse
if result ~= '' then
  source = redis.call('GET', key.result(tenant, result))
  local status, sources_lane
  if source and owner_of(source) then
    status, sources_lane = unpack(redis.call('HMGET', key.job(source), 'status', 'lane'))
  end
  if status == 'succeeded' then
    reuse = 'reused'
  elseif (status == 'running' or status == 'queued') and (lane == 'bulk' or sources_lane == 'interactive')
      and redis.call('ZCARD', key.followers(source)) < MOST_FOLLOWERS then
    reuse = 'joined'
  end
end

if not reuse then
  local everybodys, tenants = count_waiting(tenant)
  if everybodys >= tonumber(ARGV[16]) then return {'FULL', everybodys} end
  if tenants >= tonumber(ARGV[17]) then return {'TENANT_FULL', tenants} end
end

local now, sequence = now_ms(), redis.call('INCR', key.sequence)
local record = {'tenant', tenant, 'model', model, 'lane', lane, 'params', ARGV[5], 'metadata', ARGV[6],
  'num_images', ARGV[7], 'steps', ARGV[8], 'width', ARGV[9], 'work_ms', ARGV[10], 'pictures', ARGV[11],
  'keep_s', ARGV[14], 'max_running', ARGV[18], 'sequence', sequence, 'created_at_ms', now, 'attempt', 0, 'step', 0}
local function put_down(name, value)
  record[#record + 1] = name
  record[#record + 1] = value
end
if ARGV[12] ~= '' then
  put_down('deadline_ms', now + ARGV[12])
  redis.call('ZADD', key.deadlines, now + ARGV[12], id)
end
if asked ~= '' then put_down('asked', asked) end
if tonumber(needs) > 1 then put_down('needs', needs) end
if trace ~= '' then
  put_down('trace', trace)
  local theirs = reuse and field(source, 'trace')
  if theirs then put_down('pictures_trace', theirs) end
end
if roams == '1' then put_down('roams', 1) end
if ARGV[13] ~= '' then
  put_down('retry_of', ARGV[13])
  if redis.call('EXISTS', key.job(ARGV[13])) == 1 then redis.call('HSET', key.job(ARGV[13]), 'retried_as', id) end
end
if request ~= '' then
  put_down('request', request)
  redis.call('DEL', key.request(tenant, request))
  redis.call('HSET', key.request(tenant, request), 'job', id, 'fingerprint', ARGV[20])
  redis.call('EXPIRE', key.request(tenant, request), ARGV[21])
end
if result ~= '' then
  put_down('result', result)
  redis.call('HINCRBY', key.tallies, reuse or 'new', 1)
end
redis.call('HSET', key.job(id), unpack(record))
count(1, 'jobs_submitted', lane, reuse or 'new', model)
if batch ~= '' then enter_batch(id, batch, line) end
redis.call('ZADD', key.jobs(tenant), sequence, id)
redis.call('HSET', key.lanes(model), 'bulk_percent', ARGV[15])
move(id, 'queued')

if reuse == 'reused' then
  redis.call('HSET', key.job(id), 'started_at_ms', now)
  take_pictures(id, source)
  close(id, 'succeeded')
elseif reuse == 'joined' then
  follow(id, source)
else
  if result ~= '' then redis.call('SET', key.result(tenant, result), id) end
  local place, jobs, work = ahead_of(enqueue(id))
  local called = redis.pcall('LLEN', wake_ups) -- the broker's: what is not as expected there stops no submit
  return {'NEW', now, place, jobs, work, is_at_limit(tenant, tonumber(ARGV[18])) and 'running_limit' or '',
    type(called) == 'number' and called or 0, redis.call('ZCARD', key.workers)}
end
return {'OK', describe(id), reuse}
