-- finish: end a job whose pictures are all recorded.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  lease token
-- ARGV[3]  what the model saw of the texts, JSON; '' if that isn't known
-- ARGV[4...]  pairs: code of a warning, the warning in JSON
--
-- Replies
--   OK            succeeded, now or before
--   INCOMPLETE    a picture is missing; nothing was written
--   MISSING, CANCELED, ENDED, LOST   the lease is worth nothing any more; nothing was written
--
-- Flags allow-oom
-- Moves running -> succeeded; queued -> succeeded, those that wait for its pictures

local id = ARGV[1]
local verdict = standing(id, ARGV[2])
if verdict == 'ENDED' and field(id, 'status') == 'succeeded' then return {'OK'} end
if verdict ~= 'OK' then return {verdict} end
for index = 0, field(id, 'num_images') - 1 do
  if redis.call('HEXISTS', key.job(id), 'image:' .. index) == 0 then return {'INCOMPLETE'} end
end
redis.call('HSET', key.job(id), 'step', field(id, 'steps'))
if ARGV[3] ~= '' then redis.call('HSET', key.job(id), 'reading', ARGV[3]) end
for at = 4, #ARGV, 2 do
  redis.call('HSET', key.job(id), 'warning:' .. ARGV[at], ARGV[at + 1])
end
close(id, 'succeeded')
return {'OK'}
