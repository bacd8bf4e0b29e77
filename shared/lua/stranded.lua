-- stranded: list jobs that wait for a pool and may be drawn by another of its model, those that go first in front.
--
-- KEYS[1]  prefix
-- ARGV[1]  pool
-- ARGV[2]  most jobs
-- ARGV[3]  1 if the pool is of a class: then only those that didn't name it; else 0
-- ARGV[4]  the contract that is known elsewhere: those that need a higher one stay, and hold up nobody
--
-- Replies
--   OK jobs
--
-- Flags no-writes
-- Moves nothing

local MOST_LOOKS = 10000

local jobs = {}
for _, lane in ipairs(LANES) do
  for _, member in ipairs(redis.call('ZRANGE', key.order(ARGV[1], lane), 0, MOST_LOOKS - 1)) do
    if #jobs >= tonumber(ARGV[2]) then return {'OK', jobs} end
    local id = id_in(member)
    local roams, needs = unpack(redis.call('HMGET', key.job(id), 'roams', 'needs'))
    local may_go = (ARGV[3] == '0' or roams) and tonumber(needs or 1) <= tonumber(ARGV[4])
    if may_go then jobs[#jobs + 1] = describe(id) end
  end
end
return {'OK', jobs}
