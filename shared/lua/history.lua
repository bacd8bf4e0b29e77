-- history: tell how jobs ended lately, period by period.
--
-- KEYS[1]  prefix
-- ARGV[1]  seconds of a period: 60 or 600
-- ARGV[2]  how many periods, the one that goes on being the last
--
-- Replies
--   OK now periods   ms; {number, {field, count, ...}} for each period in which a job ended, the oldest first
--
-- Flags no-writes
-- Moves nothing

local now, found = now_ms(), {}
local last = math.floor(now / 1000 / ARGV[1])
for number = last - ARGV[2] + 1, last do
  local counts = redis.call('HGETALL', key.history(ARGV[1], number))
  if #counts > 0 then found[#found + 1] = {number, counts} end
end
return {'OK', now, found}
