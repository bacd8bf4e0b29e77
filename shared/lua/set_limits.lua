-- set_limits: say what a tenant may have, instead of what was said before, and tell the gateways.
--
-- KEYS[1]  prefix
-- ARGV[1]  tenant
-- ARGV[2]  weight; '' here and below: as for everybody
-- ARGV[3]  most waiting jobs
-- ARGV[4]  most running jobs; 0 for any number
-- ARGV[5]  most requests a minute; 0 for any number
--
-- Replies
--   OK
--
-- Moves nothing

local limits = key.limits(ARGV[1])
local said = {weight = ARGV[2], max_waiting = ARGV[3], max_running = ARGV[4], requests_per_minute = ARGV[5]}
redis.call('DEL', limits)
for name, value in pairs(said) do
  if value ~= '' then redis.call('HSET', limits, name, value) end
end
redis.call('SADD', key.tenants, ARGV[1])
tell('limits', '', ARGV[1])
return {'OK'}
