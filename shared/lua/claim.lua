-- claim: lease the job that goes next. The same token again gets the same job.
-- With: keys, work, fair, record
--
-- KEYS[1]  prefix
-- ARGV[1]  model
-- ARGV[2]  worker id
-- ARGV[3]  lease token, drawn for this claim alone
-- ARGV[4]  lease in ms
-- ARGV[5]  seconds to keep the answer for a claim that is sent again
-- ARGV[6]  the error of a job whose deadline passed, JSON
--
-- Replies
--   OK job        yours until the lease ends
--   NONE          no job waits, or this claim's job is lost by now
--   PAUSED        this worker, or all, shall begin nothing
--
-- Moves queued -> running, expired

local MOST_PASSED_OVER = 100 -- the next claim goes on from there

local model, worker, token = ARGV[1], ARGV[2], ARGV[3]

local before = redis.call('GET', key.claim(token))
if before then
  if standing(before, token) == 'OK' then return {'OK', describe(before)} end
  return {'NONE'}
end

local all, one = unpack(redis.call('HMGET', key.modes, '*', worker))
if all or one then return {'PAUSED'} end

for _ = 1, MOST_PASSED_OVER do
  local spot = next_up(model)
  if not spot then return {'NONE'} end
  local id = spot.id
  local most, deadline = unpack(redis.call('HMGET', key.job(id), 'max_running', 'deadline_ms'))
  if deadline and tonumber(deadline) <= now_ms() then
    redis.call('HSET', key.job(id), 'error', ARGV[6])
    close(id, 'expired')
  elseif is_at_limit(spot.tenant, tonumber(most)) then
    park(spot)
  else
    begin(spot)
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
