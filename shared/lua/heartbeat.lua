-- heartbeat: say that a worker lives, and so does the card of its model; hear what the operators want of it.
-- With: keys, work, fair, outbox, record
--
-- KEYS[1]  prefix
-- ARGV[1]  worker id
-- ARGV[2]  model
-- ARGV[3]  the worker's state, JSON
-- ARGV[4]  ms after which it counts as gone
-- ARGV[5]  seconds to keep the card
--
-- Replies
--   OK mode            '' for work, paused or drained
--   UNANNOUNCED mode   noted, but the model's card is gone: announce it again
--
-- Moves nothing

local worker, model = ARGV[1], ARGV[2]
if redis.call('SET', key.worker(worker), ARGV[3], 'PX', ARGV[4], 'GET') == false then
  redis.call('ZADD', key.born, 'NX', now_ms(), worker .. ' ' .. model)
end
redis.call('ZADD', key.workers, now_ms(), worker)
local all, one = unpack(redis.call('HMGET', key.modes, '*', worker))
local mode = (all == 'drained' or one == 'drained') and 'drained' or all or one or ''
if redis.call('EXPIRE', key.card(model), ARGV[5]) == 0 then return {'UNANNOUNCED', mode} end
redis.call('ZADD', key.cards, now_ms(), model)
return {'OK', mode}
