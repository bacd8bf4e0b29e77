-- page: list a tenant's jobs, newest first, and forget those whose records have expired.
-- With: keys, record
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
-- ARGV[2]  where to begin: '+inf', or '(' and the sequence of the last job of the page before
-- ARGV[3]  most jobs
--
-- Replies
--   OK jobs sequence   where the next page begins; '' if this is the last one
--
-- Moves nothing

local MOST_EXPIRED = 500 -- a page stops short rather than hold Redis up

local index, before, limit = key.jobs(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local jobs, last = {}, ''
for _ = 1, limit + MOST_EXPIRED do
  local entry = redis.call('ZRANGE', index, before, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')
  local id, sequence = entry[1], entry[2]
  if not id then return {'OK', jobs, ''} end
  if redis.call('EXISTS', key.job(id)) == 0 then
    redis.call('ZREM', index, id)
  elseif #jobs == limit then
    return {'OK', jobs, last}
  else
    jobs[#jobs + 1] = describe(id)
  end
  before, last = '(' .. sequence, sequence
end
return {'OK', jobs, last}
