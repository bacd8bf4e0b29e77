-- announce: publish the card of a model that a worker serves or is about to, and by which vocabulary it reads.
--
-- KEYS[1]  prefix
-- ARGV[1]  model
-- ARGV[2]  the card, JSON
-- ARGV[3]  seconds to keep both after the last heartbeat of a worker that serves the model
-- ARGV[4]  digest of its vocabulary; '' while the worker doesn't know: what another one handed over stays
-- ARGV[5]  the vocabulary, packed; written only if it is another one
--
-- Replies
--   OK
--
-- Flags allow-oom
-- Moves nothing

redis.call('SET', key.card(ARGV[1]), ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', key.cards, now_ms(), ARGV[1])
if ARGV[4] ~= '' then
  local vocabulary = key.vocabulary(ARGV[1])
  if redis.call('HGET', vocabulary, 'digest') ~= ARGV[4] then
    redis.call('HSET', vocabulary, 'digest', ARGV[4], 'packed', ARGV[5])
  end
  redis.call('EXPIRE', vocabulary, ARGV[3])
end
return {'OK'}
