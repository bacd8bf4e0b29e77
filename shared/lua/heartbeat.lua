-- heartbeat: say that a worker lives, and so does the card of its model; hear what the operators want of it.
--
-- KEYS[1]  prefix
-- ARGV[1]  worker id
-- ARGV[2]  model
-- ARGV[3]  the worker's state, JSON
-- ARGV[4]  ms after which it counts as gone
-- ARGV[5]  seconds to keep the card, the vocabulary and the speeds
-- ARGV[6]  1 if the worker can hand over the vocabulary, else 0
-- ARGV[7]  how fast it is, JSON; '' before it has drawn: what another one said stays
--
-- Replies
--   OK mode            '' for work, paused or drained
--   UNANNOUNCED mode   noted, but the model's card is gone, or a vocabulary that the worker has: announce it again
--
-- Flags allow-oom
-- Moves nothing

local worker, model = ARGV[1], ARGV[2]
if redis.call('SET', key.worker(worker), ARGV[3], 'PX', ARGV[4], 'GET') == false then
  redis.call('ZADD', key.born, 'NX', now_ms(), worker .. ' ' .. model)
end
redis.call('ZADD', key.workers, now_ms(), worker)
if ARGV[7] ~= '' then redis.call('SET', key.speeds(model), ARGV[7], 'EX', ARGV[5]) end
local all, one = unpack(redis.call('HMGET', key.modes, '*', worker))
local mode = (all == 'drained' or one == 'drained') and 'drained' or all or one or ''
local has_vocabulary = redis.call('EXPIRE', key.vocabulary(model), ARGV[5]) == 1 or ARGV[6] == '0'
if redis.call('EXPIRE', key.card(model), ARGV[5]) == 0 or not has_vocabulary then return {'UNANNOUNCED', mode} end
redis.call('ZADD', key.cards, now_ms(), model)
return {'OK', mode}
