-- direct: tell a worker, or all, to begin nothing more (paused), to give back what it has as well (drained), or to work.
--
-- KEYS[1]  prefix
-- ARGV[1]  worker id; * for all, those that come later too
-- ARGV[2]  paused, drained, or '' for work
--
-- Replies
--   OK
--   MISSING       no such worker lives
--
-- Flags allow-oom
-- Moves nothing

if ARGV[1] ~= '*' and redis.call('EXISTS', key.worker(ARGV[1])) == 0 then return {'MISSING'} end
if ARGV[2] == '' then
  redis.call('HDEL', key.modes, ARGV[1])
else
  redis.call('HSET', key.modes, ARGV[1], ARGV[2])
end
return {'OK'}
