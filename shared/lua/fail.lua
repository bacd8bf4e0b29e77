-- fail: end a job without its pictures.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  lease token
-- ARGV[3]  why, JSON
--
-- Replies
--   OK            failed, now or before
--   MISSING, CANCELED, ENDED, LOST   the lease is worth nothing any more; nothing was written
--
-- Flags allow-oom
-- Moves running, queued -> failed

local id = ARGV[1]
local verdict = standing(id, ARGV[2])
if verdict == 'ENDED' and field(id, 'status') == 'failed' then return {'OK'} end
if verdict ~= 'OK' then return {verdict} end
redis.call('HSET', key.job(id), 'error', ARGV[3])
close(id, 'failed')
return {'OK'}
