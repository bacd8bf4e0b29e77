-- couriers: list those that take calls.
--
-- KEYS[1]  prefix
-- ARGV[1]  ms of silence after which one counts as gone
--
-- Replies
--   OK couriers
--
-- Flags no-writes
-- Moves nothing

return {'OK', redis.call('ZRANGE', key.couriers, now_ms() - ARGV[1], '+inf', 'BYSCORE')}
