-- meter: add what a process has counted. The same number of the same source a second time changes nothing.
--
-- KEYS[1]  prefix
-- ARGV[1]  source: which process
-- ARGV[2]  number of these increments, higher than those of before
-- ARGV[3...]  pairs: field of the meters, what to add
--
-- Replies
--   OK
--
-- Flags allow-oom
-- Moves nothing

local LIFE_S = 24 * 3600

local last = tonumber(redis.call('GET', key.metered(ARGV[1])) or 0)
if tonumber(ARGV[2]) > last then
  redis.call('SET', key.metered(ARGV[1]), ARGV[2], 'EX', LIFE_S)
  for at = 3, #ARGV, 2 do redis.call('HINCRBY', key.meters, ARGV[at], ARGV[at + 1]) end
end
return {'OK'}
