-- postpone: leave objects on the list that the store refuses to delete, and let others come before them.
--
-- KEYS[1]  prefix
-- ARGV[1]     ms from now before which they are not told again
-- ARGV[2...]  keys of objects
--
-- Replies
--   OK
--
-- Flags allow-oom
-- Moves nothing

local at = now_ms() + ARGV[1]
for index = 2, #ARGV do redis.call('ZADD', key.trash, 'XX', 'GT', at, ARGV[index]) end
return {'OK'}
