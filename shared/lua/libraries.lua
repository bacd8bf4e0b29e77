-- libraries: note that a library is in use, and tell, once, which ones of ours nobody has noted for long.
--
-- KEYS[1]  prefix
-- ARGV[1]  name of the caller's
-- ARGV[2]  ms for which one counts as used after its last caller
--
-- Replies
--   OK names
--
-- Flags allow-oom
-- Moves nothing

local now = now_ms()
redis.call('ZADD', key.libraries, now, ARGV[1])
local lapsed = redis.call('ZRANGE', key.libraries, '-inf', now - ARGV[2], 'BYSCORE')
redis.call('ZREMRANGEBYSCORE', key.libraries, '-inf', now - ARGV[2])
return {'OK', lapsed}
