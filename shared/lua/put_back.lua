-- put_back: say when a batch that was fed is to be fed again, if it has more lines.
--
-- KEYS[1]  prefix
-- ARGV[1]  batch id
-- ARGV[2]  ms from now
--
-- Replies
--   OK
--
-- Flags allow-oom
-- Moves nothing

redis.call('ZADD', key.feeding, 'XX', now_ms() + ARGV[2], ARGV[1])
return {'OK'}
