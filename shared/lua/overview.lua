-- overview: tell which models have ever had jobs, and how many submits found their pictures made or being made.
--
-- KEYS[1]  prefix
--
-- Replies
--   OK models tallies   pairs of name and count
--
-- Flags no-writes
-- Moves nothing

return {'OK', redis.call('SMEMBERS', key.models), redis.call('HGETALL', key.tallies)}
