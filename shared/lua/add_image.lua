-- add_image: record a picture that the object store holds.
-- With: keys, work, fair, record
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
-- Moves nothing

local verdict = standing(ARGV[1], ARGV[2])
if verdict ~= 'OK' then return {verdict} end
redis.call('HSET', key.job(ARGV[1]), 'image:' .. ARGV[3], ARGV[4])
return {'OK'}
