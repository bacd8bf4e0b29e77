-- admit: tell what a key is good for, and note once a minute that it is used.
--
-- KEYS[1]  prefix
-- ARGV[1]  key id
--
-- Replies
--   OK fields     pairs, as of issue
--   EXPIRED       its time is over
--   MISSING       no such key, or it was revoked
--
-- Flags allow-oom
-- Moves nothing

local NOTE_MS = 60 * 1000

local access, now = key.access(ARGV[1]), now_ms()
local created, expires, used = unpack(redis.call('HMGET', access, 'created_at_ms', 'expires_at_ms', 'used_at_ms'))
if not created then return {'MISSING'} end
if expires and tonumber(expires) <= now then return {'EXPIRED'} end
-- A Redis that takes no writes just now still opens the door.
if not used or now - used >= NOTE_MS then redis.pcall('HSET', access, 'used_at_ms', now) end
return {'OK', redis.call('HGETALL', access)}
