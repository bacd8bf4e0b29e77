-- libraries: note that a library is in use, and tell which ones are.
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
redis.call('ZREMRANGEBYSCORE', key.libraries, '-inf', now - ARGV[2])
return {'OK', redis.call('ZRANGE', key.libraries, 0, -1)}
