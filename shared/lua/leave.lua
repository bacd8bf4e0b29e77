-- leave: take a worker off the fleet.
-- With: keys
--
-- KEYS[1]  prefix
-- ARGV[1]  worker id
--
-- Replies
--   OK
--
-- Moves nothing

redis.call('DEL', key.worker(ARGV[1]))
redis.call('ZREM', key.workers, ARGV[1])
return {'OK'}
