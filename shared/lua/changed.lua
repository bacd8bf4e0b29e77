-- changed: tell which of a tenant's jobs have changed since a change, each once, as it stands now, last changed last.
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
-- ARGV[2]  number of the last change that is known; '' for none but how many there were
-- ARGV[3]  most jobs
--
-- Replies
--   OK change jobs   the number of the last change that this tells of; pairs of the number of a job's last change, job
--
-- Flags no-writes
-- Moves nothing

local last, since = redis.call('GET', key.change) or '0', ARGV[2]
if since == '' then return {'OK', last, {}} end
-- From the beginning if Redis has lost what it knew: a later number is none of its own.
if tonumber(since) > tonumber(last) then since = '0' end
local found = redis.call('ZRANGE', key.changed(ARGV[1]), '(' .. since, '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3],
  'WITHSCORES')
local jobs = {}
for at = 1, #found, 2 do
  jobs[#jobs + 1] = found[at + 1]
  jobs[#jobs + 1] = describe(found[at])
end
return {'OK', #found < 2 * ARGV[3] and last or found[#found], jobs}
