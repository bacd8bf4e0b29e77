-- set_aside: list the jobs that were given up because their workers died, latest first: for the operator.
--
-- KEYS[1]  prefix
-- ARGV[1]  most jobs
--
-- Replies
--   OK jobs
--
-- Flags no-writes
-- Moves nothing

local jobs = {}
for _, id in ipairs(redis.call('ZRANGE', key.set_aside, 0, ARGV[1] - 1, 'REV')) do jobs[#jobs + 1] = describe(id) end
return {'OK', jobs}
