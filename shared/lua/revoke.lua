-- revoke: forget a key, and tell the gateways, which remember it for a moment.
--
-- KEYS[1]  prefix
-- ARGV[1]  key id
--
-- Replies
--   OK
--   MISSING       no such key, or it was revoked
--
-- Flags allow-oom
-- Moves nothing

redis.call('ZREM', key.access_keys, ARGV[1])
if redis.call('DEL', key.access(ARGV[1])) == 0 then return {'MISSING'} end
tell('revoked', ARGV[1], '')
return {'OK'}
