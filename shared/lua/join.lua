-- join: say that a part lives and which library it uses; not while parts live whose keys have another layout, unless it
-- lived before they did.
--
-- KEYS[1]  prefix
-- ARGV[1]  the part, JSON
-- ARGV[2]  ms after which it counts as gone
-- ARGV[3]  its layout
-- ARGV[4]  its version
-- ARGV[5]  name of its library
--
-- Replies
--   OK
--   APART layouts   of parts that live, each with its version; nothing was noted
--
-- Flags allow-oom
-- Moves nothing

local REMEMBERED_MS = 3600 * 1000 -- after an outage none has spoken lately, and those that lived before go on

local now, apart = now_ms(), {}
redis.call('ZREMRANGEBYSCORE', key.layouts, '-inf', now)
redis.call('ZREMRANGEBYSCORE', key.parts, '-inf', now - REMEMBERED_MS)
for _, other in ipairs(redis.call('ZRANGE', key.layouts, 0, -1)) do
  if string.match(other, '^%d+') ~= ARGV[3] then apart[#apart + 1] = other end
end
if apart[1] and not redis.call('ZSCORE', key.parts, ARGV[1]) then return {'APART', apart} end
redis.call('ZADD', key.layouts, now + ARGV[2], ARGV[3] .. ' ' .. ARGV[4])
redis.call('ZADD', key.parts, now + ARGV[2], ARGV[1])
redis.call('ZADD', key.libraries, now, ARGV[5])
return {'OK'}
