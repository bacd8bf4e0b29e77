-- reroute: let a job that waits for a pool wait for another pool of its model, behind its tenant's jobs there. A second
-- time it is not where it was.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  the pool for which it waits
-- ARGV[3]  the other one
-- ARGV[4]  expected work there in ms
--
-- Replies
--   OK
--   ELSEWHERE     it has begun or ended, is gone, waits for another pool or for another job's pictures; nothing was written
--
-- Flags allow-oom
-- Moves queued -> queued

local id = ARGV[1]
local status, pool, follows, began = unpack(redis.call('HMGET', key.job(id),
  'status', 'model', 'follows', 'started_at_ms'))
if status ~= 'queued' or pool ~= ARGV[2] or follows then return {'ELSEWHERE'} end
take_out(spot_of(id))
redis.call('HDEL', key.job(id), 'passed')
if began then redis.call('HSET', key.job(id), 'anew', 1) end -- what its tenant used there doesn't contain it
-- A pool that no job was ever submitted to knows no shares yet, and would take bulk work last of all.
redis.call('HSETNX', key.lanes(ARGV[3]), 'bulk_percent', bulk_percent(key.lanes(pool)))
redis.call('HSET', key.job(id), 'model', ARGV[3], 'work_ms', ARGV[4], 'roams', 1)
enqueue(id)
count(1, 'jobs_rerouted', pool)
move(id, 'queued')
return {'OK'}
