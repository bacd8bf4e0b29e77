-- overview: tell which models have ever had jobs, and how many submits found their pictures made or being made.
-- With: keys, work, fair, outbox, record
--
-- KEYS[1]  prefix
--
-- Replies
--   OK models tallies   pairs of name and count
--
-- Moves nothing

return {'OK', redis.call('SMEMBERS', key.models), redis.call('HGETALL', key.tallies)}
