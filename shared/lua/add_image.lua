-- add_image: record a picture that the object store holds.
--
-- KEYS[1]  prefix
-- ARGV[1]  job id
-- ARGV[2]  lease token
-- ARGV[3]  index of the picture
-- ARGV[4]  the picture's record, JSON
--
-- Replies
--   OK
--   MISSING, CANCELED, ENDED, LOST   the lease is worth nothing any more; nothing was written
--
-- Flags allow-oom
-- Moves nothing

local id, name = ARGV[1], 'image:' .. ARGV[3]
local verdict = standing(id, ARGV[2])
if verdict ~= 'OK' then return {verdict} end
if field(id, name) ~= ARGV[4] then
  local tenant = field(id, 'tenant')
  redis.call('HSET', key.job(id), name, ARGV[4])
  note_change(id, tenant)
  tell('image', id, tenant)
end
return {'OK'}
