-- progress: tell how far a job is. Steps only count up, so that a late report undoes none.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  lease token
-- ARGV[3]  denoising steps done
-- ARGV[4]  seconds to keep the preview
-- ARGV[5]  preview, JPEG; '' for none
-- ARGV[6]  what the model saw of the texts, JSON; '' if that isn't known
-- ARGV[7...]  pairs: code of a warning, the warning in JSON
--
-- Replies
--   OK
--   MISSING, CANCELED, ENDED, LOST   the lease is worth nothing any more; nothing was written
--
-- Flags allow-oom
-- Moves nothing

local id = ARGV[1]
local verdict = standing(id, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
if tonumber(ARGV[3]) > tonumber(field(id, 'step')) then
  redis.call('HSET', key.job(id), 'step', ARGV[3])
end
if ARGV[5] ~= '' then redis.call('SET', key.preview(id), ARGV[5], 'EX', ARGV[4]) end
if ARGV[6] ~= '' then redis.call('HSET', key.job(id), 'reading', ARGV[6]) end
for at = 7, #ARGV, 2 do
  redis.call('HSET', key.job(id), 'warning:' .. ARGV[at], ARGV[at + 1])
end
tell('progress', id, field(id, 'tenant'))
return {'OK'}
