-- roll: tell which workers fell silent without a farewell, and parts of which layouts live.
--
-- KEYS[1]  prefix
-- ARGV[1]  ms for which a worker that fell silent is told of
--
-- Replies
--   OK silent layouts   pairs of worker id and ms since its last heartbeat; `<layout> <version>`
--
-- Flags no-writes
-- Moves nothing

local now = now_ms()
local silent, seen = {}, redis.call('ZRANGE', key.workers, now - ARGV[1], '+inf', 'BYSCORE', 'WITHSCORES')
for at = 1, #seen, 2 do
  if redis.call('EXISTS', key.worker(seen[at])) == 0 then
    silent[#silent + 1] = seen[at]
    silent[#silent + 1] = math.max(0, now - seen[at + 1])
  end
end
return {'OK', silent, redis.call('ZRANGE', key.layouts, now, '+inf', 'BYSCORE')}
