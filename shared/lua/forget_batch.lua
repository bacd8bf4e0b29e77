-- forget_batch: forget some jobs of a batch that was erased, and tell which objects are to be deleted. Sent again it
-- takes the next ones, and of none is anything lost: the objects stay on the list until `discard`.
--
-- KEYS[1]  prefix
-- ARGV[1]  batch id; '' for the one that was erased first
-- ARGV[2]  most jobs
-- ARGV[3]  ms until pictures are deleted again, of a job of which a worker may be uploading one
--
-- Replies
--   OK objects more   keys of objects; more: 1 if jobs of the batch, or of any if none was named, are left
--
-- Flags allow-oom
-- Moves nothing

local batch = ARGV[1]
if batch == '' then batch = redis.call('ZRANGE', key.erasing, 0, 0)[1] end
if not batch or not redis.call('ZSCORE', key.erasing, batch) then return {'OK', {}, 0} end
local objects = {}
for _, id in ipairs(redis.call('RPOP', key.line_jobs(batch), ARGV[2]) or {}) do
  if redis.call('EXISTS', key.job(id)) == 1 then -- else it was kept long enough, or erased before
    for _, object in ipairs(erase_job(id, tonumber(ARGV[3]))) do objects[#objects + 1] = object end
  end
end
if redis.call('EXISTS', key.line_jobs(batch)) == 0 then redis.call('ZREM', key.erasing, batch) end
local is_left = redis.call('EXISTS', ARGV[1] == '' and key.erasing or key.line_jobs(batch))
return {'OK', objects, is_left}
