-- failures: list failed jobs of all tenants, latest first, or find one of them: for the operator.
--
-- KEYS[1]  prefix
-- ARGV[1]  most jobs
-- ARGV[2]  the only one that is asked for; '' for the latest
--
-- Replies
--   OK jobs
--
-- Flags no-writes
-- Moves nothing

local jobs = {}
if ARGV[2] == '' then
  for _, id in ipairs(redis.call('ZRANGE', key.failed, 0, ARGV[1] - 1, 'REV')) do jobs[#jobs + 1] = describe(id) end
elseif redis.call('ZSCORE', key.failed, ARGV[2]) then
  jobs[1] = describe(ARGV[2])
end
return {'OK', jobs}
