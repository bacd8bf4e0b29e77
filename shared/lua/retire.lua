-- retire: forget jobs that have been kept long enough, and tell which objects are to be deleted.
--
-- KEYS[1]  prefix
-- ARGV[1]  most jobs, and most objects
--
-- Replies
--   OK ids objects   jobs forgotten now; keys of objects, which stay on the list until `discard`
--
-- Flags allow-oom
-- Moves nothing

local ids = redis.call('ZRANGE', key.expiry, '-inf', now_ms(), 'BYSCORE', 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do forget(id, 0) end
return {'OK', ids, redis.call('ZRANGE', key.trash, '-inf', now_ms(), 'BYSCORE', 'LIMIT', 0, ARGV[1])}
