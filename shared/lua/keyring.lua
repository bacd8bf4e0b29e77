-- keyring: list the keys, newest first; those too that have expired.
--
-- KEYS[1]  prefix
--
-- Replies
--   OK keys       of each its id and pairs, as of issue
--
-- Flags no-writes
-- Moves nothing

local found = {}
for _, id in ipairs(redis.call('ZRANGE', key.access_keys, 0, -1, 'REV')) do
  found[#found + 1] = {id, redis.call('HGETALL', key.access(id))}
end
return {'OK', found}
