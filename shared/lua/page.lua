-- page: list a tenant's jobs, newest first.
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
-- ARGV[2]  where to begin: '+inf', or '(' and the sequence of the last job of the page before
-- ARGV[3]  most jobs
--
-- Replies
--   OK jobs sequence   where the next page begins; '' if this is the last one
--
-- Flags no-writes
-- Moves nothing

local limit = tonumber(ARGV[3])
local found = redis.call('ZRANGE', key.jobs(ARGV[1]), ARGV[2], '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, limit + 1,
  'WITHSCORES')
local jobs, last = {}, ''
for at = 1, math.min(#found, 2 * limit), 2 do
  jobs[#jobs + 1] = describe(found[at])
  last = found[at + 1]
end
return {'OK', jobs, #found > 2 * limit and last or ''}
