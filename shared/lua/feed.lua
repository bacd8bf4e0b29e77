-- feed: take the next lines of a batch that is to be fed now and has room for more jobs. It is another's turn if it is
-- not put back in time; then both may offer a line, and `submit` takes it once.
--
-- KEYS[1]  prefix
-- ARGV[1]  most lines
-- ARGV[2]  most jobs of a batch that have not ended
-- ARGV[3]  ms within which it will be put back
-- ARGV[4]  ms after which a batch without room is looked at again
--
-- Replies
--   OK batch tenant before lines   `before`: how many of its lines are jobs already
--   NONE          nothing is to be fed now
--
-- Flags allow-oom
-- Moves nothing

local MOST_LOOKS = 64
local now = now_ms()
for _, batch in ipairs(redis.call('ZRANGE', key.feeding, '-inf', now, 'BYSCORE', 'LIMIT', 0, MOST_LOOKS)) do
  local tenant = redis.call('HGET', key.batch(batch), 'tenant')
  local room = ARGV[2] - redis.call('SCARD', key.unended(batch))
  if not tenant then
    redis.call('ZREM', key.feeding, batch)
  elseif room <= 0 then
    redis.call('ZADD', key.feeding, now + ARGV[4], batch)
  else
    redis.call('ZADD', key.feeding, now + ARGV[3], batch)
    local before = redis.call('LLEN', key.line_jobs(batch))
    local last = before + math.min(room, tonumber(ARGV[1])) - 1
    return {'OK', batch, tenant, before, redis.call('LRANGE', key.lines(batch), before, last)}
  end
end
return {'NONE'}
