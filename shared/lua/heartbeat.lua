-- heartbeat: say that a worker lives, and so does the card of its model.
-- With: keys, record
--
-- KEYS[1]  prefix
-- ARGV[1]  worker id
-- ARGV[2]  model
-- ARGV[3]  the worker's state, JSON
-- ARGV[4]  ms after which it counts as gone
-- ARGV[5]  seconds to keep the card
--
-- Replies
--   OK
--   UNANNOUNCED   noted, but the model's card is gone: announce it again
--
-- Moves nothing

redis.call('SET', key.worker(ARGV[1]), ARGV[3], 'PX', ARGV[4])
redis.call('ZADD', key.workers, now_ms(), ARGV[1])
if redis.call('EXPIRE', key.card(ARGV[2]), ARGV[5]) == 0 then return {'UNANNOUNCED'} end
redis.call('ZADD', key.cards, now_ms(), ARGV[2])
return {'OK'}
