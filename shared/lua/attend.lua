-- attend: say that a courier takes calls.
--
-- KEYS[1]  prefix
-- ARGV[1]  courier id
--
-- Replies
--   OK
--
-- Flags allow-oom
-- Moves nothing

local FORGET_MS = 10 * 60 * 1000

local now = now_ms()
redis.call('ZADD', key.couriers, now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', key.couriers, '-inf', now - FORGET_MS)
return {'OK'}
