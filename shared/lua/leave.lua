-- leave: take a worker off the fleet.
--
-- KEYS[1]  prefix
-- ARGV[1]  worker id
-- ARGV[2]  model
-- ARGV[3]  1 if it ends because it failed: remembered, like a death
--
-- Replies
--   OK
--
-- Flags allow-oom
-- Moves nothing

redis.call('DEL', key.worker(ARGV[1]))
redis.call('ZREM', key.workers, ARGV[1])
redis.call('HDEL', key.modes, ARGV[1])
redis.call('ZREM', key.idle(ARGV[2]), ARGV[1])
if ARGV[3] ~= '1' then redis.call('ZREM', key.born, ARGV[1] .. ' ' .. ARGV[2]) end
return {'OK'}
