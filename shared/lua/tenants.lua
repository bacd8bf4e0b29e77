-- tenants: list the tenants that have had a key or limits, by name.
--
-- KEYS[1]  prefix
--
-- Replies
--   OK tenants    of each its name and pairs, as of limits_of
--
-- Flags no-writes
-- Moves nothing

local names, found = redis.call('SMEMBERS', key.tenants), {}
table.sort(names)
for _, name in ipairs(names) do found[#found + 1] = {name, redis.call('HGETALL', key.limits(name))} end
return {'OK', found}
