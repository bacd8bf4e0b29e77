-- release: hand a job back, its attempt not charged. A second time the lease is LOST already.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  lease token
--
-- Replies
--   OK
--   MISSING, CANCELED, ENDED, LOST   the lease is worth nothing any more; nothing was written
--
-- Flags allow-oom
-- Moves running -> queued

local id = ARGV[1]
local verdict = standing(id, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
redis.call('HINCRBY', key.job(id), 'attempt', -1)
requeue(id)
count(1, 'jobs_released', field(id, 'model'))
return {'OK'}
