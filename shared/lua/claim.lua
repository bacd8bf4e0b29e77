-- claim: lease the job that goes next. The same token again gets the same job.
-- With: keys, record
--
-- KEYS[1]  prefix
-- ARGV[1]  model
-- ARGV[2]  worker id
-- ARGV[3]  lease token, drawn for this claim alone
-- ARGV[4]  lease in ms
-- ARGV[5]  seconds to keep the answer for a claim that is sent again
--
-- Replies
--   OK job        yours until the lease ends
--   NONE          no job waits, or this claim's job is lost by now
--
-- Moves queued -> running

local model, worker, token = ARGV[1], ARGV[2], ARGV[3]

local before = redis.call('GET', key.claim(token))
if before then
  if standing(before, token) == 'OK' then return {'OK', describe(before)} end
  return {'NONE'}
end

local id = redis.call('ZPOPMIN', key.waiting(model))[1]
if not id then return {'NONE'} end
redis.call('HINCRBY', key.job(id), 'attempt', 1)
redis.call('HSETNX', key.job(id), 'started_at_ms', now_ms())
redis.call('HSET', key.job(id), 'worker', worker, 'token', token)
redis.call('ZADD', key.leases, now_ms() + ARGV[4], id)
redis.call('SET', key.claim(token), id, 'EX', ARGV[5])
move(id, 'running')
return {'OK', describe(id)}
