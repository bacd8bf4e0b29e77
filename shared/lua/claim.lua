-- claim: lease the job that goes next. The same token again gets the same job.
--
-- KEYS[1]  prefix
-- ARGV[1]  model
-- ARGV[2]  worker id
-- ARGV[3]  lease token, drawn for this claim alone
-- ARGV[4]  lease in ms
-- ARGV[5]  seconds to keep the answer for a claim that is sent again
-- ARGV[6]  the error of a job whose deadline passed, JSON
-- ARGV[7]  the lane from which to take; '' for both
-- ARGV[8]  ms for which a job that has just come is left to a worker that has nothing to do; 0 from such a one
-- ARGV[9]  the worker's contract: it passes over what needs a higher one
--
-- Replies
--   OK job        yours until the lease ends
--   NONE          no job waits, or this claim's job is lost by now
--   LEFT          the next one is for a worker that has nothing to do
--   PAUSED        this worker, or all, shall begin nothing
--
-- Flags allow-oom
-- Moves queued -> running, expired

local MOST_PASSED_OVER = 100 -- the next claim goes on from there
local MOST_ASKED = 10

local model, worker, token = ARGV[1], ARGV[2], ARGV[3]
local lane, left_for, contract = ARGV[7] ~= '' and ARGV[7] or nil, tonumber(ARGV[8]), tonumber(ARGV[9])

-- A worker that lives, may work and found nothing when it last asked.
local function another_is_idle()
  for _, other in ipairs(redis.call('ZRANGE', key.idle(model), 0, MOST_ASKED - 1)) do
    if redis.call('EXISTS', key.worker(other)) == 0 then
      redis.call('ZREM', key.idle(model), other)
    elseif other ~= worker and redis.call('HEXISTS', key.modes, other) == 0 then
      return true
    end
  end
  return false
end

local before = redis.call('GET', key.claim(token))
if before then
  if standing(before, token) == 'OK' then return {'OK', describe(before)} end
  return {'NONE'}
end

local all, one = unpack(redis.call('HMGET', key.modes, '*', worker))
if all or one then return {'PAUSED'} end

for _ = 1, MOST_PASSED_OVER do
  local spot = next_up(model, lane, contract)
  if not spot then
    if left_for == 0 then redis.call('ZADD', key.idle(model), 'NX', now_ms(), worker) end
    return {'NONE'}
  end
  local id = spot.id
  local most, deadline, created = unpack(redis.call('HMGET', key.job(id),
    'max_running', 'deadline_ms', 'created_at_ms'))
  if deadline and tonumber(deadline) <= now_ms() then
    redis.call('HSET', key.job(id), 'error', ARGV[6])
    close(id, 'expired')
  elseif spot.needs > contract then
    put_beyond(spot)
  elseif is_at_limit(spot.tenant, tonumber(most)) then
    park(spot)
  elseif left_for > 0 and now_ms() - created < left_for and another_is_idle() then
    return {'LEFT'}
  else
    begin(spot)
    redis.call('ZREM', key.idle(model), worker)
    redis.call('SADD', key.running(spot.tenant), id)
    redis.call('HINCRBY', key.job(id), 'attempt', 1)
    redis.call('HSETNX', key.job(id), 'started_at_ms', now_ms())
    redis.call('HSET', key.job(id), 'worker', worker, 'token', token, 'claimed_at_ms', now_ms())
    redis.call('ZADD', key.leases, now_ms() + ARGV[4], id)
    redis.call('SET', key.claim(token), id, 'EX', ARGV[5])
    move(id, 'running')
    return {'OK', describe(id)}
  end
end
return {'NONE'}
