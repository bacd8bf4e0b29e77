-- announce: publish the card of a model that a worker is about to serve.
-- With: keys, work, fair, outbox, record
--
-- KEYS[1]  prefix
-- ARGV[1]  model
-- ARGV[2]  the card, JSON
-- ARGV[3]  seconds to keep it after the last heartbeat of a worker that serves the model
--
-- Replies
--   OK
--
-- Moves nothing

redis.call('SET', key.card(ARGV[1]), ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', key.cards, now_ms(), ARGV[1])
return {'OK'}
