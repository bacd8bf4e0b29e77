-- limits_of: tell what was said of a tenant's limits.
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
--
-- Replies
--   OK limits     pairs of what was set: weight, max_waiting, max_running, requests_per_minute
--
-- Flags no-writes
-- Moves nothing

return {'OK', redis.call('HGETALL', key.limits(ARGV[1]))}
