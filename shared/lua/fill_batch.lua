-- fill_batch: put lines of a batch down that is about to be accepted. They are gone soon unless it is.
--
-- KEYS[1]  prefix
-- ARGV[1]  batch id
-- ARGV[2]  lines that were put down before
-- ARGV[3]  seconds to keep them
-- ARGV[4...]  lines, JSON
--
-- Replies
--   OK
--   GAP lines     so many are there, which fits not what is sent
--
-- Moves nothing

local FIRST = 4
local lines, before = key.lines(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('LLEN', lines)
if kept == before + #ARGV - FIRST + 1 then return {'OK'} end -- sent twice
if kept ~= before then return {'GAP', kept} end
for at = FIRST, #ARGV do redis.call('RPUSH', lines, ARGV[at]) end
redis.call('EXPIRE', lines, ARGV[3])
return {'OK'}
