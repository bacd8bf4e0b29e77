-- batches: list a tenant's batches, newest first.
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
-- ARGV[2]  where to begin: '+inf', or '(' and the sequence of the last batch of the page before
-- ARGV[3]  most batches
--
-- Replies
--   OK batches sequence   where the next page begins; '' if this is the last one
--
-- Flags allow-oom
-- Moves nothing

local limit = tonumber(ARGV[3])
local found = redis.call('ZRANGE', key.batches(ARGV[1]), ARGV[2], '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, limit + 1,
  'WITHSCORES')
local shown, last = {}, ''
for at = 1, math.min(#found, 2 * limit), 2 do
  if redis.call('EXISTS', key.batch(found[at])) == 1 then
    shown[#shown + 1] = describe_batch(found[at])
  else
    redis.call('ZREM', key.batches(ARGV[1]), found[at]) -- kept long enough
  end
  last = found[at + 1]
end
return {'OK', shown, #found > 2 * limit and last or ''}
